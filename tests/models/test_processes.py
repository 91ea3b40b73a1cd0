import dataclasses

import pytest

from extraction import files
from extraction.models import backends, choice, processes

SCHEMA = {"type": "object", "properties": {"total": {"type": "string", "maxLength": 8}}, "required": ["total"]}
SCHEMA["additionalProperties"] = False


def test_two_processes_answer_in_the_order_of_the_requests_what_one_answers(tiny_gguf):
    requests = [backends.Request([{"role": "user", "content": f"Total {n}"}], SCHEMA) for n in range(5)]
    model = choice.choose(tiny_gguf, "base-gguf")
    seen = []
    both = processes.open_model(model, 2)
    answers = both.complete(requests, lambda number, _: seen.append(number))
    alone = processes.open_model(model, 1)

    assert sorted(seen) == [0, 1, 2, 3, 4]
    assert [a.text for a in answers] == [a.text for a in alone.complete(requests)]
    assert (both.name, both.prompt_limit, both.count("Total")) == (alone.name, alone.prompt_limit, alone.count("Total"))


def test_a_missing_build_is_named_as_it_is_without_processes(tiny_gguf, tmp_path):
    missing = dataclasses.replace(tiny_gguf, output=dataclasses.replace(tiny_gguf.output, dir=str(tmp_path)))
    with pytest.raises(files.StageError, match=r"export_gguf\.py") as caught:
        processes.open_model(choice.choose(missing, "base-gguf"), 2)
    assert caught.value.status == 3
