"""What the stages share. Importing it keeps the libraries from reporting to their authors.

Each of them reads its switch when it is imported, and every stage imports this package before any of them.
"""

import os

os.environ |= {
    "HF_HUB_DISABLE_TELEMETRY": "1",  # TRL reports each training through the hub's client, transformers could
    "DO_NOT_TRACK": "1",
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime 1.32 sends events to Microsoft and keeps an id of this machine
    "GRADIO_ANALYTICS_ENABLED": "False",
    "UNSLOTH_DISABLE_STATISTICS": "1",  # it reports that a model was loaded
}
