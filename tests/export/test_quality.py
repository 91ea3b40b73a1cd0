"""What quantization costs, on hand-made distributions, on the tiny model, and with llama.cpp's own tools."""

import math
import shutil

import numpy
import pytest

import config
import export_gguf
from extraction import files, handoff
from extraction.export import gguf_build, llama_source, quality
from extraction.tasks import completions, prompts, schemas

ROOT_CACHE = config.PROFILES["cpu"].cache_dir


def log(*rows):
    return numpy.log(numpy.array(rows))


def test_a_distribution_has_no_divergence_from_itself():
    same = log([0.7, 0.2, 0.1], [0.1, 0.1, 0.8])
    assert quality.compare(same, same) == {"divergence": 0, "same_next_token": 1}


def test_the_divergence_is_that_of_kullback_and_leibler():
    found = quality.compare(log([0.75, 0.25]), log([0.25, 0.75]))
    assert found["divergence"] == pytest.approx(0.5 * math.log(3), abs=1e-6)
    assert found["same_next_token"] == 0


def test_log_softmax_is_the_logarithm_of_a_distribution():
    logits = numpy.array([[1000.0, 1000.0, 999.0], [-5.0, 0.0, 5.0]])
    found = numpy.exp(quality.log_softmax(logits))
    assert found.sum(axis=1) == pytest.approx([1, 1])
    assert found[0, 0] / found[0, 2] == pytest.approx(math.e)


@pytest.fixture(scope="module")
def project(tiny_moe, tmp_path_factory):
    """Options of an export of the tiny model alone, with training rows beside it."""
    root = tmp_path_factory.mktemp("quality")
    staging = handoff.begin(root / "training")
    for split in ("train", "eval", "test"):
        rows = []
        for n in range(12):
            record = {"total": f"{n}.50", "merchant": {"name": f"CAFE {n}"}}
            rows.append(
                {
                    "id": f"{split}/{n}",
                    "task": "receipt",
                    "prompt": prompts.messages(schemas.RECEIPT, f"CAFE {n}\nTOTAL   {n}.50"),
                    "completion": [{"role": "assistant", "content": completions.completion(record)}],
                }
            )
        files.write_jsonl(staging / f"{split}.jsonl", rows)
    handoff.seal(
        staging,
        stage="prepare_training_data",
        settings={"profile": "cpu", "contract_form": "sentences", "base_model": str(tiny_moe)},
    )

    def options(*overrides):
        items = [f"train.base_model={tiny_moe}", f"data.training_dir={root / 'training'}", f"output.dir={root / 'out'}"]
        return [part for item in [*items, *overrides] for part in ("--set", item)]

    return options


def test_the_builds_are_compared_with_the_largest_and_fewer_bits_lie_farther(project, capsys):
    arguments = project("export.quantization=Q4_K_M,F32,Q8_0", "export.verify_rows=4")
    assert export_gguf.main(["--base-only", *arguments]) == 0
    capsys.readouterr()
    assert export_gguf.main(["--base-only", "--verify", *arguments]) == 0
    cfg = config.read(config.parser(""), arguments)[1]
    found = files.read_json(cfg.gguf_quality_dir / "quality.json")
    largest, eight, four = found["results"]
    assert [r["file"] for r in found["results"]] == [
        f"doc-intel-base-{kind}.gguf" for kind in ("F32", "Q8_0", "Q4_K_M")
    ]
    assert largest["divergence"] is None
    assert 0 < eight["divergence"] < four["divergence"]
    assert 0 < largest["loss"] == pytest.approx(eight["loss"], rel=0.02)
    assert all(r["generated_tokens_per_second"] > 0 and r["memory_gib"] > 0 for r in found["results"])
    assert "| doc-intel-base-Q8_0.gguf |" in capsys.readouterr().out


def test_without_builds_the_command_that_makes_them_is_named(project, tmp_path):
    arguments = [*project(), "--set", f"output.dir={tmp_path}"]
    with pytest.raises(files.StageError, match=r"Run: python export_gguf\.py"):
        export_gguf.main(["--verify", *arguments])


def test_the_calibration_text_takes_tasks_in_turn_up_to_so_many_tokens(tiny_moe, tmp_path):
    from extraction.models import base_model

    tokenizer = base_model.tokenizer(str(tiny_moe), tiny_moe)
    rows = [
        {"task": task, "prompt": prompts.messages(schemas.RECEIPT, f"{task} {n}"), "completion": [{"content": "{}"}]}
        for task in ("receipt", "contract")
        for n in range(20)
    ]
    text = export_gguf.calibration_text(files.write_jsonl(tmp_path / "rows.jsonl", rows), tokenizer, 1000)
    assert 1000 <= len(export_gguf.encode(tokenizer, text)) < 1500
    assert abs(text.count("receipt ") - text.count("contract ")) <= 1 + text.count(schemas.RECEIPT.instructions)


def test_columns_that_an_importance_matrix_weighs_more_are_kept_closer(tiny_gguf, tmp_path):
    import gguf

    source = tiny_gguf.base_gguf_file("F32")
    read = {t.name: gguf.dequantize(t.data, t.tensor_type) for t in gguf.GGUFReader(source).tensors}
    stacked = [name for name in read if name.endswith("ffn_down_exps.weight")]
    writer = gguf.GGUFWriter(tmp_path / "imatrix.gguf", "imatrix")
    for name in stacked:
        experts, _, columns = read[name].shape
        sums = numpy.ones((experts, columns), dtype=numpy.float32)
        sums[:, ::4] = 1000
        writer.add_tensor(f"{name}.in_sum2", 8 * sums)
        writer.add_tensor(f"{name}.counts", numpy.full((experts, 1), 8, dtype=numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    errors = []
    for imatrix in (None, tmp_path / "imatrix.gguf"):
        gguf_build.quantize(source, tmp_path / "small.gguf", "Q4_0", imatrix)
        made = {
            t.name: gguf.dequantize(t.data, t.tensor_type) for t in gguf.GGUFReader(tmp_path / "small.gguf").tensors
        }
        differences = numpy.concatenate([(made[name] - read[name]) ** 2 for name in stacked])
        errors.append((differences[..., ::4].mean(), numpy.delete(differences, numpy.s_[::4], -1).mean()))
    assert errors[1][0] < 0.9 * errors[0][0]
    assert errors[1][1] > errors[0][1]


needs_tools = pytest.mark.skipif(
    handoff.manifest_of(ROOT_CACHE / f"llama.cpp-{export_gguf.importlib.metadata.version('llama-cpp-python')}-tools")
    is None,
    reason="llama.cpp's tools are not built: make tools",
)


@needs_tools
def test_an_importance_matrix_lowers_the_divergence_of_small_types(project):
    plain, weighed = (
        project(
            "export.quantization=F32,Q3_K_M",
            f"export.imatrix={value}",
            "export.imatrix_tokens=2000",
            "export.verify_rows=8",
        )
        for value in ("false", "true")
    )
    divergences = []
    for arguments in (plain, weighed):
        assert export_gguf.main(["--base-only", *arguments]) == 0
        assert export_gguf.main(["--base-only", "--verify", *arguments]) == 0
        cfg = config.read(config.parser(""), arguments)[1]
        found = files.read_json(cfg.gguf_quality_dir / "quality.json")["results"]
        divergences.append(found[1]["divergence"])
    assert (cfg.base_gguf_dir / "imatrix.gguf").is_file()
    assert divergences[1] != divergences[0]
    assert divergences[1] < 1.1 * divergences[0]


def test_without_cmake_the_command_that_installs_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    with pytest.raises(files.StageError, match="pip install cmake ninja"):
        llama_source.tools(tmp_path)
    assert not list(tmp_path.iterdir())
