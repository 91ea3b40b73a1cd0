"""No document is in two splits: near-duplicates are found, measured, and taken out of the earlier split."""

from __future__ import annotations

from extraction.preparing.sources import SPLITS, Sources

NEAR_DUPLICATE = 0.8  # Jaccard similarity of five-word shingles from which two documents count as the same
CANDIDATE = 0.5  # similarity that the hashes look for: lower, so that they miss no pair, and each pair is then measured


def remove(sources: Sources, seed: int) -> list[dict]:
    """Take documents out of train and eval that nearly equal one of a later split. Returns the pairs found.

    MinHash and locality-sensitive hashing (datasketch) name candidates; the similarity of each is then computed.
    """
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(threshold=CANDIDATE, num_perm=128)
    indexed: dict[str, set[str]] = {}
    found = []
    for split in reversed(SPLITS):
        kept, hashed = [], []
        for document in sources.documents[split]:
            passages = shingles(document["text"])
            signature = MinHash(num_perm=128, seed=seed % 2**32)
            signature.update_batch([passage.encode() for passage in passages])
            nearest = max(
                ((jaccard(passages, indexed[name]), name) for name in index.query(signature)), default=(0, "")
            )
            if nearest[0] >= NEAR_DUPLICATE:
                found.append({"document": document["id"], "split": split, "twin": nearest[1]})
                sources.leave_out(document["source"], split, "nearly equals a document of a later split")
                continue
            kept.append(document)
            hashed.append((f"{split}: {document['id']}", signature, passages))
        names = {document["id"] for document in kept}
        orphans = [document for document in kept if document.get("varies", document["id"]) not in names]
        if orphans:
            sources.leave_out(orphans[0]["source"], split, "variation of a document that was left out", len(orphans))
        sources.documents[split] = [document for document in kept if document not in orphans]
        for name, signature, passages in hashed:  # after the split, so that twins within one split stay
            index.insert(name, signature)
            indexed[name] = passages
    return found


def shingles(text: str) -> set[str]:
    """Every five neighboring words of a text."""
    words = text.casefold().split()
    return {" ".join(words[i : i + 5]) for i in range(max(len(words) - 4, 1))}


def jaccard(a: set[str], b: set[str]) -> float:
    return len(a & b) / len(a | b)
