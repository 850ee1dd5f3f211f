"""The command line: what a person can type wrong, or at the wrong time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from bad_input.cause import Cause, Place, nothing
from support.project import MODEL, edit_params, run

TEXTS = "text\nwhere is my parcel\nrefund please\n"


def beside(name: str, content: str | bytes) -> Callable[[Place], None]:
    """A file beside the project."""

    def arrange(place: Place) -> None:
        data = content if isinstance(content, bytes) else content.encode()
        (place.folder / name).write_bytes(data)

    return arrange


def a_folder(name: str) -> Callable[[Place], None]:
    return lambda place: (place.folder / name).mkdir()


def outside(place: Place) -> None:
    """No project here."""
    for name in ("params.yaml", "dvc.yaml"):
        (place.root / name).unlink(missing_ok=True)


def a_stranger(place: Place) -> None:
    (place.root / "notes.txt").write_text("mine\n")


def ignored(place: Place) -> None:
    """A repository around the project that ignores its folder."""
    run(place.folder, "git", "init", "--quiet")
    (place.folder / ".gitignore").write_text("/kept/\n")


def no_window(place: Place) -> None:
    (place.root / "data" / MODEL / "window.json").unlink()


def changed_number(place: Place) -> None:
    edit_params(place.root, lambda params: params["judge"].update(floor=0.1))


def altered_bundle(place: Place) -> None:
    _in_service(place.root, "bundle.json").write_text("{}\n")


def no_graph(place: Place) -> None:
    (place.root / "dvc.yaml").write_text("stages: {}\n")


def both(*arranges: Callable[[Place], None]) -> Callable[[Place], None]:
    def arrange(place: Place) -> None:
        for one in arranges:
            one(place)

    return arrange


def _in_service(root: Path, name: str) -> Path:
    alias = json.loads((root / "serving" / MODEL / "champion.json").read_text())
    return root / str(alias["bundle"]) / name


def init(*more: str, task: str = "text-classification", name: str = MODEL, reference: str = "{folder}/shop.csv",
         text: str = "body", label: str = "intent", root: str = "{root}") -> tuple[str, ...]:  # fmt: skip
    return ("init", root, "--task", task, "--name", name, "--reference", reference, "--text", text, "--label", label,
            "--base", "{folder}/micro-base", *more)  # fmt: skip


def predict(source: str = "{folder}/new.csv", target: str = "{folder}/out.csv", *more: str) -> tuple[str, ...]:
    return ("predict", MODEL, "--input", source, "--output", target, *more)


CAUSES = [
    # What is typed.
    Cause("unknown name", "a verb with a typing error", ("rnu",), nothing, 2,
          ("No such command 'rnu'", "Did you mean 'run'", "finetide --help")),
    Cause("unknown name", "a verb like no other", ("frobnicate",), nothing, 2,
          ("No such command 'frobnicate'", "finetide --help")),
    Cause("unknown name", "an option with a typing error", ("rollback", MODEL, "--too", "v1"), nothing, 2,
          ("No such option '--too'", "Did you mean '--to'", "finetide rollback --help")),
    Cause("unknown name", "an unknown model", ("run", "mial"), nothing, 2,
          ("params.yaml", "unknown model", "found 'mial'", "did you mean 'mail'", "models there: mail")),
    Cause("unknown name", "check of an unknown model", ("check", "mial"), nothing, 2,
          ("unknown model", "mial", "models in params.yaml: mail")),
    Cause("unknown name", "an unknown stage", ("stage", "trian", MODEL), nothing, 2,
          ("dvc.yaml", "unknown stage", "found 'trian'", "did you mean 'train'", "ingest, validate, split")),
    Cause("unknown name", "prediction by an unknown model",
          ("predict", "mial", "--input", "{folder}/new.csv", "--output", "{folder}/out.csv"), beside("new.csv", TEXTS),
          2, ("unknown model", "found 'mial'", "models there: mail"), start="trained"),
    Cause("unknown name", "prediction by an unknown alias",
          ("predict", f"{MODEL}@best", "--input", "{folder}/new.csv", "--output", "{folder}/out.csv"),
          beside("new.csv", TEXTS), 2, ("unknown alias", f"found '{MODEL}@best'", f"{MODEL}@champion"),
          start="trained"),
    Cause("missing argument", "promote what", ("promote",), nothing, 2, ("Missing argument 'MODEL'",)),
    Cause("missing argument", "exclude without a reason", ("exclude", MODEL, "shop.csv"), nothing, 2,
          ("Missing option '--why'",)),
    Cause("missing argument", "exclude with an empty reason", ("exclude", MODEL, "shop.csv", "--why", "  "), nothing, 2,
          ("a reason is needed", "--why")),
    Cause("missing argument", "a forced promotion without a reason", ("promote", MODEL, "--force"), nothing, 2,
          ("--force needs a reason", 'add --why "'), start="trained"),
    # Studies.
    Cause("study", "a study of an unknown model", ("compare", "mial"), nothing, 2,
          ("unknown model", "found 'mial'", "did you mean 'mail'")),
    Cause("study", "a study before the first run", ("seeds", MODEL), nothing, 2,
          ("split/split.parquet", "is missing", "finetide run mail")),
    Cause("study", "a share in percent", ("curve", MODEL, "--shares", "1,5,10"), nothing, 2,
          ("--shares", "above 0 and at most 1", "found '5'", "5 percent is 0.05")),
    Cause("study", "a share that leaves no row", ("curve", MODEL, "--shares", "0.0001"), nothing, 2,
          ("--shares", "leaves no row", "labelled training rows", "at least 0."), start="trained"),
    # Versions, files and times that are not there.
    Cause("not there", "rollback to an unknown version", ("rollback", MODEL, "--to", "v7"), nothing, 2,
          ("no such version", "found 'v7'", "versions: v1"), start="trained"),
    Cause("not there", "rollback to what is in service", ("rollback", MODEL, "--to", "v1"), nothing, 2,
          ("mail", "v1 is in service already", "finetide history mail"), start="trained"),
    Cause("not there", "rollback with nothing before", ("rollback", MODEL), nothing, 2,
          ("no champion before v1", "finetide history mail"), start="trained"),
    Cause("not there", "rollback with nothing in service", ("rollback", MODEL), nothing, 2,
          ("mail", "nothing is in service", "finetide run mail")),
    Cause("not there", "exclude an unknown file", ("exclude", MODEL, "shopp.csv", "--why", "labels swapped"), nothing,
          2, ("data/mail/raw/shopp.csv", "no such file", "shop.csv, airline.csv")),
    Cause("not there", "advance with a missing file", ("advance", MODEL, "{folder}/week-47.csv"), nothing, 2,
          ("{folder}/week-47.csv", "no such file")),
    Cause("not there", "history at a time that is none", ("history", MODEL, "--at", "yesterday"), nothing, 2,
          ("--at", "is not a time", "found 'yesterday'", "2026-11-20"), start="trained"),
    Cause("not there", "history at an impossible time", ("history", MODEL, "--at", "2026-02-30"), nothing, 2,
          ("--at", "is not a time", "found '2026-02-30'")),
    # The right command at the wrong time.
    Cause("too early", "promote with nothing judged", ("promote", MODEL), nothing, 2,
          ("mail", "no judged challenger", "finetide run mail")),
    Cause("too early", "promote after an edit", ("promote", MODEL), changed_number, 2,
          ("mail", "no judged challenger that is up to date", "finetide run mail"), start="trained"),
    Cause("too early", "approve without verdicts", ("approve", MODEL, "--why", "expected"), nothing, 2,
          ("quality.json, leakage.json, shift.json", "finetide run mail")),
    Cause("too early", "reject without verdicts", ("reject", MODEL, "--why", "wrong labels"), nothing, 2,
          ("quality.json", "finetide run mail")),
    Cause("too early", "a report before any run", ("report", MODEL), nothing, 2,
          ("mail", "nothing was run yet", "finetide run mail")),
    Cause("too early", "predict with nothing in service", predict(), beside("new.csv", TEXTS), 2,
          ("serving/mail/champion.json", "nothing is in service", "finetide run mail")),
    Cause("too early", "a stage before the one it needs", ("stage", "train", MODEL), nothing, 2,
          ("artifacts/mail/", "is missing", "finetide run mail")),
    # Where it is called.
    Cause("wrong place", "a stage outside a project", ("stage", "train", MODEL), outside, 2,
          ("is not inside a Finetide project", "{root}", "finetide init")),
    Cause("wrong place", "run outside a project", ("run",), nothing, 2,
          ("is not inside a Finetide project", "{root}", "finetide init"), start="empty"),
    Cause("wrong place", "a graph without stages", ("run", MODEL), no_graph, 2,
          ("dvc.yaml", "has no stage", "git checkout")),
    Cause("wrong place", "no window", ("run", MODEL), no_window, 2,
          ("data/mail/window.json", "no such file", "git checkout")),
    # init.
    Cause("init", "a folder that is a project", init(), nothing, 2,
          ("{root}", "is a project already", "name a new folder")),
    Cause("init", "a folder with other files", init(), a_stranger, 2,
          ("{root}", "is not empty (notes.txt is there)", "name a new folder"), start="empty"),
    Cause("init", "a file as the folder", init(root="{folder}/taken"), beside("taken", "x"), 2,
          ("{folder}/taken", "is a file", "name a new folder"), start="empty"),
    Cause("init", "a folder that git ignores", init(root="{folder}/kept/mail"), ignored, 2,
          ("{folder}/kept/mail", "git ignores what is in this folder (.gitignore:1:/kept/)", "take another folder"),
          start="empty"),
    Cause("init", "an unknown column", init(text="boddy"), nothing, 2,
          ("shop.csv", "has no column 'boddy' (text), did you mean 'body'", "body, intent, side", "--text"),
          start="empty"),
    Cause("init", "a price as the label", init(label="price", reference="{folder}/priced.csv"),
          beside("priced.csv", "body,price\n" + "".join(f"parcel {row} is late,{row}.50\n" for row in range(60))), 2,
          ("{folder}/priced.csv", "60 different labels on 60 reference rows in column 'price'", "found '0.50,",
           "--label"), start="empty"),
    Cause("init", "an empty column name", init(text=""), nothing, 2, ("--text", "must not be empty"), start="empty"),
    Cause("init", "a task that is none", init(task="text-clasification"), nothing, 2,
          ("--task", "unknown task", "found 'text-clasification'", "text-classification"), start="empty"),
    *(Cause("init", f"the name {name!r}", init(name=name), nothing, 2,
            ("--name", "lower-case letters, digits and dashes", "found"), start="empty")
      for name in ("Mail", "mail; touch ran", "../mail", "", "mail\n", "m" * 41)),
    Cause("init", "a missing file", init(reference="{folder}/shopp.csv"), nothing, 2,
          ("{folder}/shopp.csv", "no such file", "--reference"), start="empty"),
    Cause("init", "a folder as --reference", init(reference="{folder}/micro-base"), nothing, 2,
          ("{folder}/micro-base", "is a folder", "--reference"), start="empty"),
    Cause("init", "one file as reference and as incoming", init("--incoming", "{folder}/shop.csv"), nothing, 2,
          ("{folder}/shop.csv", "twice", "once"), start="empty"),
    Cause("init", "an unknown base", (*init(), "--base", "{folder}/micro-bass"), nothing, 2,
          ("base.source", "no such folder", "micro-bass"), start="empty"),
    Cause("init", "no --reference", ("init", "{root}", "--task", "text-classification", "--name", MODEL, "--text", "a",
                                     "--label", "b"), nothing, 2, ("Missing option '--reference'",), start="empty"),
    # predict and verify.
    Cause("predict", "a missing input", predict(), nothing, 2, ("{folder}/new.csv", "no such file", "--input"),
          start="trained"),
    Cause("predict", "an unknown format", predict("{folder}/new.xlsx"), beside("new.xlsx", b"PK"), 2,
          ("{folder}/new.xlsx", "unknown format", "found '.xlsx'", ".csv"), start="trained"),
    Cause("predict", "an unknown format of the output", predict(target="{folder}/out.txt"), beside("new.csv", TEXTS), 2,
          ("{folder}/out.txt", "unknown format", "found '.txt'", ".parquet"), start="trained"),
    Cause("predict", "no text column", predict(), beside("new.csv", "message\nhello\n"), 2,
          ("{folder}/new.csv", "has no such column", "found 'body'", "--text with one of: message"), start="trained"),
    Cause("predict", "another text column", predict("{folder}/new.csv", "{folder}/out.csv", "--text", "boddy"),
          beside("new.csv", "body,n\nhello,1\n"), 2, ("{folder}/new.csv", "has no such column", "found 'boddy'",
                                                    "did you mean 'body'"), start="trained"),
    Cause("predict", "a label column that is there already", predict(), beside("new.csv", "text,label\nhello,x\n"), 2,
          ("{folder}/new.csv", "has a column 'label' already", "--prefix predicted_"), start="trained"),
    Cause("predict", "a folder as input", predict("{folder}/new.csv"), a_folder("new.csv"), 2,
          ("{folder}/new.csv", "is a folder", "--input"), start="trained"),
    Cause("predict", "a folder as output", predict(), both(beside("new.csv", TEXTS), a_folder("out.csv")),
          2, ("{folder}/out.csv", "is a folder", "--output"), start="trained"),
    Cause("predict", "an output below a file", predict(target="{folder}/new.csv/out.csv"), beside("new.csv", TEXTS), 2,
          ("{folder}/new.csv", "is a file"), start="trained"),
    Cause("predict", "an output in a folder that is not there", predict(target="{folder}/nope/out.csv"),
          beside("new.csv", TEXTS), 2, ("{folder}/nope: no such folder", "mkdir -p {folder}/nope", "--output"),
          start="trained"),
    Cause("predict", "an empty CSV file", predict(), beside("new.csv", ""), 2,
          ("{folder}/new.csv", "is empty", "header"), start="trained"),
    Cause("predict", "an empty JSONL file", predict("{folder}/new.jsonl"), beside("new.jsonl", ""), 2,
          ("{folder}/new.jsonl", "is empty"), start="trained"),
    Cause("predict", "an input in another encoding", predict(), beside("new.csv", "text\ngrün\n".encode("latin-1")), 2,
          ("{folder}/new.csv", "is not UTF-8", "save it as UTF-8"), start="trained"),
    Cause("predict", "a ragged row", predict(), beside("new.csv", "text,n\nhello,1,2\n"), 2,
          ("{folder}/new.csv, line 2", "has 3 fields, the header has 2"), start="trained"),
    Cause("predict", "a column twice", predict(), beside("new.csv", "text,text\nhello,there\n"), 2,
          ("{folder}/new.csv", "two columns", "'text'"), start="trained"),
    Cause("predict", "a broken Parquet file", predict("{folder}/new.parquet"), beside("new.parquet", b"PAR1"), 2,
          ("{folder}/new.parquet", "is not readable as Parquet"), start="trained"),
    Cause("predict", "a line that is no JSON", predict("{folder}/new.jsonl"), beside("new.jsonl", '{"text": 1}\n{"te'),
          2, ("{folder}/new.jsonl, line 2", "is not JSON"), start="trained"),
    Cause("predict", "a broken gzip file", predict("{folder}/new.csv.gz"), beside("new.csv.gz", b"\x1f\x8b\x08broken"),
          2, ("{folder}/new.csv.gz", "is a broken gzip file"), start="trained"),
    Cause("predict", "an int8 file that did not pass", predict("{folder}/new.csv", "{folder}/out.csv", "--graph",
          "int8"), beside("new.csv", TEXTS), 2, ("int8", "fp32"), start="trained"),
    Cause("verify", "a folder that is no bundle", ("verify", "{root}"), nothing, 2,
          ("{root}", "is no bundle", "finetide status"), start="trained"),
    Cause("verify", "no folder at all", ("verify", "{folder}/bundel"), nothing, 2,
          ("{folder}/bundel", "is no bundle folder", "finetide status"), start="trained"),
    Cause("verify", "predictions by an altered bundle", predict(), both(beside("new.csv", TEXTS), altered_bundle),
          6, ("bundle.json", "is not what the manifest promises", "copy the bundle again",
              "finetide run brings it back"), start="trained"),
    Cause("report", "a folder as the page", ("report", MODEL, "--output", "{folder}/page.html"), a_folder("page.html"),
          2, ("{folder}/page.html", "is a folder", "--output"), start="trained"),
    Cause("report", "a page in a folder that is not there", ("report", MODEL, "--output", "{folder}/nope/page.html"),
          nothing, 2, ("{folder}/nope: no such folder", "mkdir -p {folder}/nope", "--output"), start="trained"),
    Cause("report", "a site in a folder that is not there", ("report", "--site", "{folder}/nope/site"), nothing, 2,
          ("{folder}/nope: no such folder", "mkdir -p {folder}/nope", "--site"), start="trained"),
    Cause("label requests", "a table in a folder that is not there",
          ("label-requests", MODEL, "--output", "{folder}/nope/ask.csv"), nothing, 2,
          ("{folder}/nope: no such folder", "mkdir -p {folder}/nope", "--output"), start="trained"),
]  # fmt: skip
