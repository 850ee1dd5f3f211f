"""Small generated tables: short messages whose label follows from their words, in domains with other words."""

from __future__ import annotations

import csv
from pathlib import Path

from finetide.seeding import generator

LABELS = ("delivery", "money", "account")
# Domain → label → words that tell it. Fillers are shared inside a domain and differ between domains.
WORDS = {
    "shop": {
        "delivery": ["parcel", "courier", "shipping", "box", "package"],
        "money": ["refund", "charge", "price", "invoice", "payment"],
        "account": ["login", "password", "email", "profile", "signin"],
    },
    "airline": {
        "delivery": ["luggage", "suitcase", "gate", "boarding", "bag"],
        "money": ["fare", "voucher", "tax", "fee", "compensation"],
        "account": ["miles", "status", "lounge", "card", "member"],
    },
    "bank": {
        "delivery": ["statement", "letter", "postal", "branch", "envelope"],
        "money": ["transfer", "loan", "interest", "balance", "mortgage"],
        "account": ["pin", "token", "username", "device", "app"],
    },
}
FILLERS = {
    "shop": ["please", "my", "order", "the", "with", "today", "help", "about", "still", "need"],
    "airline": ["flight", "our", "trip", "airport", "seat", "tomorrow", "desk", "crew", "plane", "ticket"],
    "bank": ["dear", "sir", "bank", "teller", "query", "regarding", "kindly", "manager", "yearly", "regards"],
}
SIDES = ("train", "train", "train", "validation", "test")


def rows(
    count: int, domain: str, seed: int, *, longer: int = 0, wrong_train: bool = False, labelled: bool = True
) -> list[dict[str, str]]:
    """Messages with columns body, intent, side.

    Args:
        longer: extra filler words in each message, a mild shift.
        wrong_train: labels of the train and validation rows are moved on by one; test rows stay right.
    """
    rng = generator(seed, domain, count)
    made: list[dict[str, str]] = []
    seen: set[str] = set()
    while len(made) < count:
        index = len(made)
        label = LABELS[index % len(LABELS)]
        words = [*rng.choice(WORDS[domain][label], 2), *rng.choice(FILLERS[domain], int(rng.integers(5, 8)) + longer)]
        text = " ".join(str(word) for word in rng.permutation(words))
        if text in seen:
            continue
        seen.add(text)
        side = SIDES[(index // len(LABELS)) % len(SIDES)]
        if wrong_train and side != "test":
            label = LABELS[(index + 1) % len(LABELS)]
        made.append({"body": text, "intent": label if labelled else "", "side": side})
    return made


def write_csv(path: Path, table: list[dict[str, str]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    return path
