"""The folder that --bundle writes runs by itself, and is an image, a Space and an Ollama model."""

import json
import re
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

import config
import export_gguf
from extraction import files, handoff
from extraction.export import bundle
from extraction.models import choice, confidence
from tests.helpers import reading_only

BUILD = "doc-intel-base-F32.gguf"  # of the tiny model


@pytest.fixture(scope="module")
def cfg(tiny_gguf, tmp_path_factory):
    """Settings under which the tiny build is the tuned one, with a calibration."""
    output = tmp_path_factory.mktemp("output")
    found = replace(tiny_gguf, output=replace(tiny_gguf.output, dir=str(output)))
    shutil.copytree(tiny_gguf.base_gguf_dir, found.gguf_dir)
    model = choice.choose(found, "gguf")
    judged = {"receipt": [(0.9, True), (0.4, False)] * 30}
    confidence.save(model.calibration_file, confidence.fit(judged), model.weights, judged, "rows")
    return found


@pytest.fixture(scope="module")
def made(cfg, tmp_path_factory):
    folder = tmp_path_factory.mktemp("elsewhere") / "doc-intel"
    assert bundle.write(config.ROOT, cfg, config.arguments(cfg), folder) == folder / BUILD
    return folder


def command(folder, *arguments, **options):
    """A command in the bundle, where neither this repository nor the packages of training can be imported."""
    environment = reading_only.environment(TMPDIR=str(options.pop("temporary", folder.parent)))
    return [sys.executable, *map(str, arguments)], {"cwd": folder, "env": environment, "text": True, **options}


def run(folder, *arguments):
    called, options = command(folder, *arguments)
    return subprocess.run(called, capture_output=True, **options)


# --- it runs by itself ---------------------------------------------------------------------------------------


def test_a_document_is_read_in_the_bundle_with_the_settings_it_was_written_with(made):
    done = run(made, "inference.py", "data/samples/documents/invoice.pdf")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["model"] == BUILD
    shown = run(made, "config.py").stdout
    assert re.search(r"^inference.quantization +\"F32\"$", shown, re.M)
    assert re.search(r"^inference.max_new_tokens +48$", shown, re.M)
    assert run(made, "inference.py", "--set", "inference.max_new_tokens=1", "README.md").returncode == 2


def test_the_check_finds_packages_ocr_and_model_of_the_bundle(made):
    done = run(made, "inference.py", "--check")
    assert done.returncode == 0, done.stdout
    pins = len(reading_only.pinned("requirements-inference.txt"))
    assert f"{pins} of {pins} as pinned" in done.stdout and f"{BUILD} opened" in done.stdout
    assert "train_moe.py" not in done.stdout


def test_the_page_starts_in_the_bundle_and_answers_programs(made, tmp_path, monkeypatch):
    from gradio_client import Client, handle_file

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as s:
        port = s.getsockname()[1]
    with open(tmp_path / "said", "w") as said:
        called, options = command(made, "app.py", "--port", port, temporary=tmp_path, stdout=said, stderr=said)
        page = subprocess.Popen(called, **options)
        try:
            deadline = time.monotonic() + 120
            while "page: http" not in (tmp_path / "said").read_text() and page.poll() is None:
                assert time.monotonic() < deadline
                time.sleep(0.2)
            assert page.poll() is None, (tmp_path / "said").read_text()
            client = Client(f"http://127.0.0.1:{port}", verbose=False, download_files=str(tmp_path / "got"))
            letter = handle_file("data/samples/documents/letter.txt")
            shown = client.predict(letter, "document", None, "", api_name="/extract")
        finally:
            page.terminate()
            page.wait(timeout=30)
    assert f"letter.txt  ·  document  ·  1 page  ·  {BUILD}" in shown[0]


# --- what is in it -------------------------------------------------------------------------------------------


def test_the_bundle_holds_the_build_its_calibration_and_nothing_of_this_machine(made, cfg):
    assert handoff.damage(made, handoff.manifest_of(made)) is None
    assert choice.Choice(cfg, BUILD, file=made / BUILD).calibration() is not None
    texts = [path for path in made.rglob("*") if path.suffix in ("", ".py", ".md", ".txt", ".args")]
    for path in texts:
        if path.is_file():
            assert str(config.ROOT) not in path.read_text(encoding="utf-8"), path
    assert not list(made.rglob("train*"))
    assert (made / "requirements.txt").read_bytes() == Path("requirements-inference.txt").read_bytes()


def test_it_is_an_ollama_folder(made, cfg):
    lines = (made / "Modelfile").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("FROM")] == [f"FROM ./{BUILD}"]
    before = (cfg.gguf_dir / "Modelfile").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line[:5] != "FROM "] == [line for line in before if line[:5] != "FROM "]


def test_the_readme_is_the_card_of_a_space_and_of_the_model(made):
    _, front, text = (made / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    assert yaml.safe_load(front) == {
        "title": "Doc intelligence",
        "sdk": "docker",
        "app_port": config.AppConfig().port,
        "license": "apache-2.0",
    }
    assert BUILD in text and "apt-get install build-essential" in text
    assert "What limits it" in text and "\n# " in text and text.count("\n# ") == 1


def test_the_image_is_built_from_pinned_packages_and_runs_as_a_user_without_secrets():
    # read, not built: there is no Docker where the tests run
    lines = Path("deploy/bundle/Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    steps = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    last = [argument for name, argument in steps if name == "FROM"][-1]
    assert last == "python:3.11-slim"
    after = steps[max(i for i, step in enumerate(steps) if step[0] == "FROM") :]
    values = {name: argument for name, argument in after}
    assert values["USER"] == "1000" and values["EXPOSE"] == str(config.AppConfig().port)
    assert json.loads(values["CMD"]) == ["python", "app.py", "--host", "0.0.0.0", "--port", values["EXPOSE"]]
    assert [name for name, _ in after][-3:] == ["USER", "EXPOSE", "CMD"]  # nothing is done as another user behind it
    assert "TMPDIR=/tmp" in values["ENV"]
    text = "\n".join(map(" ".join, steps))
    assert {name for name, _ in steps} <= {"FROM", "RUN", "ARG", "COPY", "WORKDIR", "ENV", "USER", "EXPOSE", "CMD"}
    assert not re.search(r"(?i)password|token|secret|curl|wget|sudo|:latest", text)
    pin = reading_only.pinned("requirements-inference.txt")["llama-cpp-python"]
    assert f"ARG LLAMA_CPP_PYTHON{str(pin.specifier).replace('==', '=')}\n" in text
    assert text.index("llama-cpp-python==") < text.index("COPY requirements.txt")
    assert text.count("--no-install-recommends") == text.count("apt-get install") == text.count("rm -rf /var/lib/apt")


# --- where it is written -------------------------------------------------------------------------------------


def test_a_bundle_is_replaced_and_anything_else_is_left_alone(cfg, tmp_path):
    arguments = config.arguments(cfg)
    folder = tmp_path / "empty"
    folder.mkdir()
    bundle.write(config.ROOT, cfg, arguments, folder)
    (folder / "README.md").unlink()
    bundle.write(config.ROOT, cfg, arguments, folder)
    assert (folder / "README.md").is_file() and [path.name for path in tmp_path.iterdir()] == ["empty"]
    (folder / "results.jsonl").write_text("mine")
    with pytest.raises(files.StageError, match="holds results.jsonl, which is no part of a bundle: name a new folder"):
        bundle.write(config.ROOT, cfg, arguments, folder)
    other, file = tmp_path / "other", tmp_path / "file"
    other.mkdir()
    (other / "letter.txt").write_text("mine")
    file.write_text("mine")
    for kept in (other, file):
        with pytest.raises(files.StageError, match="is there already and is no bundle: name a new folder") as error:
            bundle.write(config.ROOT, cfg, arguments, kept)
        assert error.value.status == 2
    assert (other / "letter.txt").read_text() == (folder / "results.jsonl").read_text() == "mine"


def test_a_bundle_without_a_build_names_the_command_that_makes_it(tmp_path):
    with pytest.raises(files.StageError, match=r"is not there yet. Run: python export_gguf.py"):
        export_gguf.main(["--bundle", str(tmp_path / "new"), "--set", f"output.dir={tmp_path / 'none'}"])
    assert not (tmp_path / "new").exists()
