"""params.yaml: what a person can get wrong in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bad_input.cause import Cause, Place
from support.project import MODEL, edit_params

# Stages before the one that finds the fault have run by then, and their outputs stay.
UP_TO_TRAIN = ("artifacts", "dvc.lock")


def edited(change: Callable[[Any], None]) -> Callable[[Place], None]:
    return lambda place: edit_params(place.root, change)


def setting(dotted: str, value: object) -> Callable[[Place], None]:
    """Set one value, e.g. ``train.phases.1.learning_rate``."""

    def change(params: Any) -> None:
        *way, last = [int(part) if part.isdigit() else part for part in dotted.split(".")]
        for part in way:
            params = params[part]
        params[last] = value

    return edited(change)


def without(dotted: str) -> Callable[[Place], None]:
    def change(params: Any) -> None:
        *way, last = dotted.split(".")
        for part in way:
            params = params[part]
        del params[last]

    return edited(change)


def replaced(old: str, new: str) -> Callable[[Place], None]:
    """Replace one piece of the file's text."""

    def arrange(place: Place) -> None:
        path = place.root / "params.yaml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return arrange


def written(content: bytes) -> Callable[[Place], None]:
    def arrange(place: Place) -> None:
        (place.root / "params.yaml").write_bytes(content)

    return arrange


def gone(place: Place) -> None:
    (place.root / "params.yaml").unlink()


def a_folder(place: Place) -> None:
    gone(place)
    (place.root / "params.yaml").mkdir()


def latin(place: Place) -> None:
    path = place.root / "params.yaml"
    path.write_bytes(path.read_bytes() + "# grün\n".encode("latin-1"))


def odd_header(place: Place) -> None:
    """The text column is really called so, and the file has it."""
    for name in ("shop.csv", "airline.csv"):
        path = place.folder / name
        path.write_text(path.read_text().replace("body", "$(touch ran)", 1))


RUN = ("run", MODEL)
M = f"models.{MODEL}"


def refused(kind: str, name: str, arrange: Callable[[Place], None], *says: str) -> Cause:
    """`finetide run` ends with 2, names file and key, and nothing was touched."""
    return Cause(kind, name, RUN, arrange, 2, ("params.yaml", *says))


def late(kind: str, name: str, arrange: Callable[[Place], None], code: int, *says: str) -> Cause:
    """Found by a stage: only the data, or the model, shows it."""
    return Cause(kind, name, RUN, arrange, code, says, harmless=UP_TO_TRAIN)


LR = "train.phases.1.learning_rate"
LR_SAID = f"{M}.train.phases[1].learning_rate"

LORA = {"lora": {"rank": 4, "alpha": 8.0, "dropout": 0.0, "targets": ["qery"]}}

CAUSES = [
    # Keys.
    refused("unknown key", "a key with a typing error", edited(lambda p: p["train"].update(max_lenght=64)),
            f"{M}.train.max_lenght", "unknown key", "did you mean 'max_length'"),
    refused("unknown key", "a section with a typing error", edited(lambda p: p.update(evalute={})),
            f"{M}.evalute", "unknown key", "did you mean 'evaluate'"),
    refused("unknown key", "a key at the top", replaced("schema: 1", "schema: 1\nmodel: 3"),
            "model: unknown key", "did you mean 'models'"),
    refused("unknown key", "a key of a phase", edited(lambda p: p["train"]["phases"][1].update(learning_rat=1.0e-4)),
            f"{M}.train.phases[1].learning_rat", "unknown key", "did you mean 'learning_rate'"),
    refused("unknown key", "a key like no other", edited(lambda p: p["judge"].update(xyzzy=1)),
            f"{M}.judge.xyzzy", "unknown key", "known here: ", "non_inferiority_margin"),
    refused("missing key", "a setting is left out", without("shift.windows_per_year"),
            f"{M}.shift.windows_per_year", "is missing; every setting is written out"),
    refused("missing key", "a section is left out", without("judge"), f"{M}.judge", "is missing"),
    refused("missing key", "a phase without its kind", edited(lambda p: p["train"]["phases"][1].pop("kind")),
            f"{M}.train.phases[1].kind", "is missing", "'probe', 'soup', 'tune'"),
    refused("missing key", "no schema version", replaced("schema: 1\n", ""), "schema: is missing", "schema: 1"),
    # Types.
    refused("wrong type", "a word for a number", setting("train.batch_rows", "many"),
            f"{M}.train.batch_rows", "must be a whole number", "found 'many'"),
    refused("wrong type", "true for a number", setting("seed", True),
            f"{M}.seed", "must be a whole number", "found true"),
    refused("wrong type", "a fraction of an epoch", setting("train.phases.1.duration.epochs", 1.5),
            f"{M}.train.phases[1].duration.epochs", "must be a whole number", "1.5"),
    refused("wrong type", "a list for one value", setting("train.max_length", [32, 64]),
            f"{M}.train.max_length", "must be a whole number", "[32, 64]"),
    refused("wrong type", "a number in quotes", setting(LR, "2e-5"),
            LR_SAID, "must be a number", "found '2e-5'", "without quotes"),
    refused("wrong type", "one value for a list", setting("policy.retrain_on", "adapt"),
            f"{M}.policy.retrain_on", "must be a list", "found 'adapt'"),
    refused("wrong type", "one value for a section", setting("shift", 3), f"{M}.shift", "must be a mapping", "found 3"),
    refused("wrong type", "a number for a switch", setting("export.int8", 1),
            f"{M}.export.int8", "must be true or false", "found 1"),
    refused("wrong type", "a number for a column", setting("ingest.columns.text", 7),
            f"{M}.ingest.columns.text", "must be text", "found 7", "in quotes"),
    refused("wrong type", "null for a number", setting("evaluate.bootstrap", None),
            f"{M}.evaluate.bootstrap", "must be a whole number", "found null"),
    refused("wrong type", "models as a list", written(b"schema: 1\nmodels:\n  - mail\n"),
            "models: must", "name: settings", "mail"),
    # Numbers.
    refused("not a number", "NaN as a learning rate", setting(LR, float("nan")), LR_SAID, "finite", "nan"),
    refused("not a number", "infinity as a weight decay", setting("train.phases.1.weight_decay", float("inf")),
            f"{M}.train.phases[1].weight_decay", "finite", "inf"),
    refused("not a number", "NaN as a share", setting("shift.harmless_auc", float("nan")),
            f"{M}.shift.harmless_auc", "finite"),
    refused("not a number", "NaN as dropout", setting("train.dropout", float("nan")), f"{M}.train.dropout", "finite"),
    refused("out of range", "sides that leave nothing to train on",
            edited(lambda p: p["split"].update(validation_percent=60.0, test_percent=60.0)),
            f"{M}.split.validation_percent", f"{M}.split.test_percent", "less than 50", "found 60.0"),
    refused("out of range", "no false alarm ever", setting("shift.false_alarms_per_year", 0.0),
            f"{M}.shift.false_alarms_per_year", "greater than 0"),
    refused("out of range", "a false alarm in every window", setting("shift.false_alarms_per_year", 52.0),
            f"{M}.shift", "false_alarms_per_year 52 must be below windows_per_year 52"),
    refused("out of range", "too few permutations for this alarm budget", setting("shift.permutations", 50),
            f"{M}.shift", "permutations", "1/51", "α = 0.00962", "at least 104"),
    refused("out of range", "a negative learning rate", setting(LR, -1.0e-4), LR_SAID, "greater than 0", "-0.0001"),
    refused("out of range", "no epochs", setting("train.phases.1.duration.epochs", 0),
            f"{M}.train.phases[1].duration.epochs", "greater than or equal to 1", "found 0"),
    refused("out of range", "a dropout of 1.5", setting("train.dropout", 1.5), f"{M}.train.dropout", "less than 1"),
    refused("out of range", "certainty of the judge", setting("judge.confidence", 1.0),
            f"{M}.judge.confidence", "less than 1"),
    refused("out of range", "a negative seed", setting("seed", -1), f"{M}.seed", "greater than or equal to 0"),
    refused("out of range", "more than every row in quarantine", setting("validate.max_quarantine_share", 1.2),
            f"{M}.validate.max_quarantine_share", "less than or equal to 1"),
    refused("out of range", "texts of two tokens", setting("train.max_length", 2), f"{M}.train.max_length", "8"),
    refused("out of range", "texts longer than the base reads", setting("train.max_length", 65),
            f"{M}.train.max_length", "64", "config.json", "found 65"),
    refused("out of range", "an operator set that the exporter lacks", setting("export.opset", 99),
            f"{M}.export.opset", "found 99"),
    refused("out of range", "harmless above halt",
            edited(lambda p: p["shift"].update(harmless_auc=0.95, halt_auc=0.9)),
            f"{M}.shift", "harmless_auc", "halt_auc", "0.95"),
    # Settings that contradict or are empty.
    refused("duration", "epochs and steps", setting("train.phases.1.duration.steps", 5),
            f"{M}.train.phases[1].duration", "exactly one of epochs and steps"),
    refused("duration", "neither epochs nor steps", setting("train.phases.1.duration.epochs", None),
            f"{M}.train.phases[1].duration", "exactly one of epochs and steps"),
    refused("unknown word", "an unknown task", setting("task", "text-clasification"),
            f"{M}.task", "'text-classification'", "found 'text-clasification'"),
    refused("unknown word", "an unknown kind of phase", setting("train.phases.1.kind", "tun"),
            f"{M}.train.phases[1].kind", "'probe', 'tune'", "found 'tun'"),
    refused("unknown word", "an unknown schedule", setting("train.phases.1.schedule", "lineer"),
            f"{M}.train.phases[1].schedule", "'linear'", "found 'lineer'"),
    refused("unknown word", "an unknown verdict in the policy", setting("policy.retrain_on", ["adapt", "maybe"]),
            f"{M}.policy.retrain_on[1]", "'cannot-tell'", "found 'maybe'"),
    refused("unknown word", "a later schema", replaced("schema: 1", "schema: 2"),
            "schema: this Finetide reads schema 1", "update Finetide", "found 2"),
    refused("nothing there", "no phases", setting("train.phases", []), f"{M}.train.phases", "must not be empty"),
    refused("nothing there", "no strengths to try", setting("train.phases.0.l2", []),
            f"{M}.train.phases[0].l2", "must not be empty"),
    refused("nothing there", "a column without a name", setting("ingest.columns.label", ""),
            f"{M}.ingest.columns.label", "must not be empty"),
    Cause("nothing there", "no model at all", ("run",), written(b"schema: 1\nmodels: {{}}\n".replace(b"{{}}", b"{}")),
          2, ("params.yaml", "models: must", "at least one model")),
    Cause("nothing there", "an empty params.yaml", ("run",), written(b""), 2, ("params.yaml", "is empty")),
    # Values that would reach a shell, a path or a tag.
    *(
        Cause("shell", f"a model named {name!r}", ("check",), replaced("  mail:", f'  "{name}":'), 2,
              ("params.yaml", "lower-case letters, digits and dashes", shown))
        for name, shown in (("mail; touch ran", "mail; touch ran"), ("my mail", "my mail"),
                            ("$(touch ran)", "$(touch ran)"), ("../mail", "../mail"), ("Mail", "Mail"))
    ),
    *(
        refused("shell", f"a base {name}", setting("base.source", value), f"{M}.base.source", "path:FOLDER", said)
        for name, value, said in (
            ("with a semicolon", "path:../micro-base; touch ran", "; touch ran"),
            ("with a substitution", "package:$(touch ran)", "$(touch ran)"),
            ("with a line break", "path:../micro-base\ntouch ran", r"\ntouch ran"),
            ("of no kind", "../micro-base", "'../micro-base'"),
        )
    ),
    late("shell", "a text column that the data lack, with a command in it",
         setting("ingest.columns.text", "$(touch ran)"), 2, "has no column '$(touch ran)' (text)", "body"),
    Cause("shell", "columns with a command in their names are only names",
          ("init", "{root}", "--task", "text-classification", "--name", MODEL, "--reference", "{folder}/shop.csv",
           "--text", "$(touch ran)", "--label", "intent", "--base", "{folder}/micro-base"),
          odd_header, 0, ("read 90 rows with 3 labels", "next: cd"), start="empty",
          harmless=(".dvc", ".dvcignore", ".gitignore", "README.md", "approvals", "data", "dvc.yaml", "finetide.lock",
                    "params.yaml")),
    # Layer rules.
    refused("layer rule", "no regular expression", setting("train.phases.1.layers.0.match", "layer.(1"),
            f"{M}.train.phases[1].layers[0].match", "regular expression", "'layer.(1'"),
    late("layer rule", "a rule that matches nothing", setting("train.phases.1.layers.0.match", "embedings"), 2,
         "params.yaml", "train.phases[1].layers[0].match", "matches no parameter", "'embedings'", "embeddings"),
    late("adapter", "a layer that the model does not have", setting("train.phases.1.layers", LORA), 2,
         "params.yaml", "train.phases[1].layers.lora.targets[0]", "matches no linear layer", "'qery'", "near: query"),
    late("adapter", "a rank above the matrix",
         setting("train.phases.1.layers", {"lora": {**LORA["lora"], "rank": 4096, "targets": ["query"]}}), 2,
         "params.yaml", "train.phases[1].layers.lora.rank", "the smaller side of", "found 4096"),
    refused("adapter", "targets that are no word of it",
            setting("train.phases.1.layers", {"lora": {**LORA["lora"], "targets": "all"}}),
            f"{M}.train.phases[1].layers.lora.targets", "must be attention, linear, or a list", "found 'all'"),
    refused("layer rule", "a rate of 0 for frozen", setting("train.phases.1.layers.0.lr", 0.0),
            f"{M}.train.phases[1].layers[0].lr", "lr: frozen"),
    refused("layer rule", "a word for a rate", setting("train.phases.1.layers.0.lr", "frozn"),
            f"{M}.train.phases[1].layers[0].lr", "must be a number above 0, or frozen", "found 'frozn'"),
    # The base.
    refused("base", "a hash that is none", setting("base.sha256", "latest"), f"{M}.base.sha256",
            "64 hexadecimal digits", "found 'latest'"),
    refused("base", "the hash of other weights", setting("base.sha256", "0" * 64), "base.sha256",
            "model.safetensors", "is not the file that params.yaml pins", "restore the file"),
    Cause("base", "a folder that is not there", RUN, setting("base.source", "path:../micro-bass"), 2, ("base.source",
            "no such folder", "micro-bass")),
    Cause("base", "a base package that is not installed", RUN, setting("base.source", "package:no-such-weights"), 2,
          ("base.source", "is not installed", "pip install no-such-weights")),
    # The file itself.
    refused("not YAML", "no YAML at all", written(b"schema: [1\nmodels: }"), "line 2", "is not valid YAML"),
    refused("not YAML", "a tab as indentation", replaced("    seed: 17", "\tseed: 17"),
            "line ", "is not valid YAML", "tab", "spaces"),
    refused("not YAML", "a key twice", replaced("    seed: 17", "    seed: 17\n    seed: 18"),
            "line ", "'seed'", "twice"),
    refused("not YAML", "a model twice", replaced("models:\n", "models:\n  mail: {}\n"), "line ", "'mail'", "twice"),
    refused("not YAML", "a tag that would run code", replaced("seed: 17", "seed: !!python/object/apply:os.getpid []"),
            "line ", "is not valid YAML", "python/object/apply:os.getpid"),
    refused("not YAML", "text instead of settings", written(b"please train my model\n"), "must be a mapping",
            "please train my model"),
    refused("not YAML", "a merge that was left open", replaced("    seed: 17\n", "<<<<<<< HEAD\n    seed: 17\n"),
            "line ", "is not valid YAML"),
    refused("not YAML", "two documents", written(b"schema: 1\n---\nmodels: {}\n"), "line ", "is not valid YAML"),
    refused("not a text file", "another encoding", latin, "is not UTF-8", "line ", "save it as UTF-8"),
    refused("not a text file", "UTF-16", written("schema: 1\n".encode("utf-16")), "is not UTF-8", "save it as UTF-8"),
    refused("not a text file", "zero bytes", replaced("seed: 17", "seed: 17\0"), "line ", "control character"),
    Cause("missing file", "no params.yaml", RUN, gone, 2, ("is not inside a Finetide project", "params.yaml")),
    Cause("missing file", "params.yaml is a folder", RUN, a_folder, 2, ("is not inside a Finetide project",)),
]  # fmt: skip
