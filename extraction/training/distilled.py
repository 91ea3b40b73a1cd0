"""Public rows beside own documents are learned as the start answers them, not by their labels: knowledge distillation.

Such rows are a handful, and their labels shift what is known already: after 20 delivery notes the small model named 80
clauses where it had named 210, of 215 that were there. So a row's targets are the start's probabilities of the tokens
at each place of its answer, given what comes before it ("learning without forgetting", Li and Hoiem 2016, arXiv
1606.09282). Their loss is the KL divergence, which is 0 at the start: it says nothing until own documents change the
model, and then it pulls back.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

LIKELIEST = 32  # tokens of a place whose probabilities are kept; the others count as one
LEAST = 1e-6  # probability of these others: less is not told apart
TOKENS = 256  # whose logits exist at a time

# Of a row's tokens: the likeliest ones at each place of its answer (places x LIKELIEST) and their probabilities.
Targets = dict[tuple[int, ...], tuple[Any, Any]]


def targets(model: Any, rows: Iterable[dict], device: str) -> Targets:
    """What the model says of the answers of rows with `input_ids` and `completion_mask`."""
    import torch
    from tqdm import tqdm

    inner, found = model.get_base_model(), {}
    model.eval()
    for row in tqdm(rows, desc="what the start says of public rows", unit="row", disable=None):
        ids, first = row["input_ids"], row["completion_mask"].index(1)
        with torch.no_grad(), torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            hidden = inner.base_model(input_ids=torch.tensor([ids], device=device), use_cache=False).last_hidden_state
            logits = inner.get_output_embeddings()(hidden[0, first - 1 : -1]).float()
        best = logits.softmax(dim=-1).topk(min(LIKELIEST, logits.shape[-1]))
        found[tuple(ids)] = best.indices, best.values
    model.train()
    return found


def divergence(hidden: Any, head: Any, tokens: Any, probabilities: Any) -> Any:
    """KL divergence of what the output layer says of these tokens, and of all others, from the probabilities; a sum."""
    import torch

    logits = torch.nn.functional.linear(hidden.to(head.dtype), head).float()
    found = logits.gather(-1, tokens) - logits.logsumexp(dim=-1, keepdim=True)
    others, given = ((1 - p.sum(dim=-1, keepdim=True)).clamp(min=LEAST) for p in (found.exp(), probabilities))
    p, q = torch.cat([probabilities, given], dim=-1), torch.cat([found, others.log()], dim=-1)
    return (torch.xlogy(p, p) - p * q).sum()


def trainer_class(make: Any) -> Any:
    """The trainer whose `targets` take the place of labels in the rows that they are of, in training alone."""
    import torch
    from torch.utils.checkpoint import checkpoint

    class Trainer(make):
        targets: Targets = {}

        def compute_loss(
            self, model: Any, inputs: dict, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            answers = self.known(inputs) if model.training else []
            if not answers:
                return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
            labels, seen = inputs["labels"].clone(), []
            for row, *_ in answers:
                labels[row] = -100
            inner = self.accelerator.unwrap_model(model).get_base_model()
            hook = inner.base_model.register_forward_hook(lambda _, args, output: seen.append(output.last_hidden_state))
            try:
                inputs = {**inputs, "labels": labels}
                loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
            finally:
                hook.remove()
            hidden = torch.cat([seen[0][row, first - 1 : end - 1] for row, first, end in answers])
            tokens, probabilities = (torch.cat(parts) for parts in zip(*self.targets_of(inputs, answers), strict=True))
            head, extra = inner.get_output_embeddings().weight, 0.0
            for part in zip(*(t.split(TOKENS) for t in (hidden, tokens, probabilities)), strict=True):
                extra = extra + checkpoint(divergence, part[0], head, *part[1:], use_reentrant=False)
            loss = loss + extra * self.accelerator.num_processes / num_items_in_batch
            return (loss, outputs) if return_outputs else loss

        def known(self, inputs: dict) -> list[tuple[int, int, int]]:
            """The rows of a batch that have targets, each with the places of its answer."""
            found = []
            for row, labels in enumerate(inputs["labels"]):
                places = (labels != -100).nonzero().flatten().tolist()
                if tuple(inputs["input_ids"][row, : places[-1] + 1].tolist()) in self.targets:
                    found.append((row, places[0], places[-1] + 1))
            return found

        def targets_of(self, inputs: dict, answers: list[tuple[int, int, int]]) -> list[tuple[Any, Any]]:
            return [self.targets[tuple(inputs["input_ids"][row, :end].tolist())] for row, _, end in answers]

    return Trainer
