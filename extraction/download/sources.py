"""The public datasets: where each is published, what it must hold, and under which terms."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Source:
    """Where a dataset is published, what it must hold, and under which terms."""

    title: str
    url: str  # the page for people
    license: str
    citation: str
    counts: dict[str, int]  # of the published splits that are used
    disk_bytes: int  # needed free before anything is fetched
    hub_id: str | None = None
    revision: str | None = None  # "main" is resolved to a commit when a run starts, and that commit is recorded
    disk_bytes_with_images: int = 0
    files: dict[str, str] = field(default_factory=dict)  # downloads outside the hub
    sha256: str | None = None  # of files["archive"]
    size: int | None = None


_TATQA = "870accc41953dcde885aabeb963d94aabdc0fbc3"  # the commit that is used
SOURCES = {
    "cord": Source(
        title="CORD v2, receipts",
        url="https://huggingface.co/datasets/naver-clova-ix/cord-v2",
        license="CC BY 4.0",
        citation="Park et al., CORD: A Consolidated Receipt Dataset for Post-OCR Parsing, 2019",
        counts={"train": 800, "validation": 100, "test": 100},
        disk_bytes=50_000_000,
        disk_bytes_with_images=2 * 2_307_284_272,  # the shards, and the images taken out of them
        hub_id="naver-clova-ix/cord-v2",
        revision="7f0115a4b758a71d6473b8d085751692da2fef98",
    ),
    "cuad": Source(
        title="CUAD v1, contracts",
        url="https://github.com/TheAtticusProject/cuad",
        license="CC BY 4.0",
        citation="Hendrycks et al., CUAD: An Expert-Annotated NLP Dataset for Legal Contract Review, 2021",
        counts={"train": 408, "test": 102},
        disk_bytes=250_000_000,
        files={
            # Only this archive says which contracts are the official test split.
            "archive": "https://github.com/TheAtticusProject/cuad/raw/67faa0e6023b04fcaae6cc09497ab00e5d63a2a2/data.zip",
        },
        sha256="f8161d18bea4e9c05e78fa6dda61c19c846fb8087ea969c172753bc2f45b999a",
        size=18_309_308,
    ),
    "docvqa": Source(
        title="DocVQA, questions on scanned pages",
        url="https://huggingface.co/datasets/pixparse/docvqa-single-page-questions",
        license="MIT on the hub; the pages are for research use",
        citation="Mathew et al., DocVQA: A Dataset for VQA on Document Images, 2021",
        counts={"train": 39_463, "validation": 5_349},  # the answers of the test split are withheld
        disk_bytes=2_000_000_000,
        disk_bytes_with_images=2 * 12_400_000_000,
        hub_id="pixparse/docvqa-single-page-questions",
        revision="main",
    ),
    "tatqa": Source(
        title="TAT-QA, questions on financial reports",
        url="https://github.com/NExTplusplus/TAT-QA",
        license="CC BY 4.0",
        citation="Zhu et al., TAT-QA: A Question Answering Benchmark on Tabular and Textual Content in Finance, 2021",
        counts={"train": 2_201, "test": 278},  # the published dev split serves as test
        disk_bytes=60_000_000,
        revision=_TATQA,
        files={
            split: f"https://raw.githubusercontent.com/NExTplusplus/TAT-QA/{_TATQA}/dataset_raw/tatqa_dataset_{part}.json"
            for split, part in (("train", "train"), ("test", "dev"))
        },
    ),
}
