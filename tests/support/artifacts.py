"""The files that a finished run leaves, with plausible numbers: for whatever reads them and need not make them."""

from __future__ import annotations

import base64
import hashlib
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from finetide.config.evaluate import EvaluateParams
from finetide.config.graph import stage_files, stage_names
from finetide.config.judge import JudgeParams
from finetide.contracts.bundle import BundleInfo, Int8Parity, Manifest, Parity, ShapeCheck
from finetide.contracts.gate import GateRecord
from finetide.contracts.judge import JudgeVerdict
from finetide.contracts.label_issues import LabelIssue, LabelIssues, SideIssues
from finetide.contracts.ledger import Alias
from finetide.contracts.quality import CheckResult, Finding, IngestReport, LeakageVerdict, QualityVerdict, RowRef
from finetide.contracts.shift import Recipe, ShiftVerdict, Statistic
from finetide.contracts.training import PhaseReport, TrainingReport
from finetide.contracts.window import ChampionPin, Window, WindowFile
from finetide.data.payload import FIRST_LINE, STORE
from finetide.evaluation.score import score
from finetide.evaluation.verdict import judge
from finetide.files import sha256_file

PROJECT = Path(__file__).parents[2]
LABELS = (
    "baggage",
    "booking_change",
    "cancel",
    "complaint",
    "delivery_status",
    "invoice",
    "login",
    "refund",
)
# Words that would do harm in a page that does not escape them.
HOSTILE = "<script>alert('ticket')</script> & my parcel \"is\" <b>late</b>"
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


class Artifacts:
    """Writes the outputs of each stage of one model below ``root``, with this repository's dvc.yaml."""

    def __init__(self, root: Path, model: str = "tickets", *, incoming: bool = True, rows: int = 760) -> None:
        self.root, self.model, self.incoming = root, model, incoming
        root.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / "dvc.yaml", root / "dvc.yaml")
        self.files = {stage: stage_files(root, stage, model).outs for stage in stage_names(root)}
        self.chance = np.random.default_rng(7)
        self.table = self._table(rows)

    def out(self, stage: str, name: str) -> Path:
        path = self.root / self.files[stage][name]
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def all(self) -> Artifacts:
        """A promoted second version."""
        self.window(ChampionPin(version="v1", hash=digest("v1")))
        self.ingest()
        self.quality()
        self.split()
        self.shift()
        self.gate()
        self.train()
        self.evaluate()
        self.export()
        self.judge()
        self.alias("v2", sha256_file(self.out("export", "bundle") / "manifest.json"))
        return self

    def window(self, champion: ChampionPin | None = None) -> None:
        files = [WindowFile(path="shop.csv", sha256=digest("shop"), role="reference")]
        if self.incoming:
            files.append(WindowFile(path="airline.csv", sha256=digest("airline"), role="incoming"))
        path = self.root / "data" / self.model / "window.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        Window(model=self.model, start="base", champion=champion, files=tuple(files)).write(path)

    def ingest(self) -> None:
        roles = self.table["role"].value_counts()
        reference, incoming = int(roles.get("reference", 0)), int(roles.get("incoming", 0))
        files = {"shop.csv": reference, **({"airline.csv": incoming} if self.incoming else {})}
        labelled = int(self.table["label"].notna().sum())
        report = IngestReport(
            rows=len(self.table), reference=reference, incoming=incoming, labelled=labelled, files=files
        )
        report.write(self.out("ingest", "ingest.json"))
        self.table.to_parquet(self.out("ingest", "rows.parquet"))
        self.out("ingest", STORE).write_bytes(FIRST_LINE)

    def quality(self, verdict: str = "pass") -> None:
        row = RowRef(row_id="airline.csv:31", file="airline.csv", line=31, column="text", value=HOSTILE)
        finding = Finding(
            check="near duplicates",
            severity="critical" if verdict == "fail" else "warning",
            message="2 rows say nearly the same as an earlier row",
            fix="delete one of each pair",
            count=2,
            rows=(row,),
        )
        checks = (
            CheckResult(
                check="expect_column_values_to_not_be_null (text)",
                source="great-expectations",
                severity="critical",
                passed=True,
                detail="every row has a text",
            ),
            CheckResult(
                check="label set", source="finetide", severity="critical", passed=True, detail="8 labels, all known"
            ),
            CheckResult(
                check="near duplicates",
                source="finetide",
                severity=finding.severity,
                passed=False,
                detail="2 rows with a Jaccard similarity of at least 0.8",
            ),
        )
        counts = {role: part["label"].value_counts().to_dict() for role, part in self.table.groupby("role")}
        QualityVerdict(
            verdict=verdict,
            reason="No critical finding, no warning." if verdict == "pass" else "1 critical finding: near duplicates.",
            rows=len(self.table) + 3,
            kept=len(self.table),
            quarantined=3,
            labels=LABELS,
            counts=counts,
            checks=checks,
            findings=(finding,),
        ).write(self.out("validate", "quality.json"))
        for name in ("quality.html", "clean.parquet", "quarantine.csv"):
            self.out("validate", name).write_text(name)

    def split(self, verdict: str = "pass") -> None:
        counts = {role: part["split"].value_counts().to_dict() for role, part in self.table.groupby("role")}
        reason = "No text stands on two sides." if verdict == "pass" else "4 texts stand on two sides."
        leakage = LeakageVerdict(verdict=verdict, reason=reason, counts=counts, findings=())
        leakage.write(self.out("split", "leakage.json"))
        self.table.to_parquet(self.out("split", "split.parquet"))

    def shift(self, word: str = "adapt", plot: bytes = PIXEL) -> None:
        def statistic(name: str, p: float, effect: float, unit: str, note: str) -> Statistic:
            return Statistic(
                name=name,
                p=p,
                adjusted=p,
                draws=500,
                effect=effect,
                unit=unit,
                low=effect - 0.03,
                high=effect + 0.03,
                expected=0.02,
                critical=0.05,
                detectable=0.06,
                incoming_rows=300,
                reference_rows=300,
                note=note,
            )

        ShiftVerdict(
            verdict=word,
            sentence="Incoming rows can be told from reference rows: domain AUC 0.87, and labels are distributed "
            "differently.",
            alpha=0.01,
            p=0.002,
            reference_rows=460,
            incoming_rows=300,
            compared_reference=300,
            compared_incoming=300,
            rows_needed=None,
            labelled_share=0.9,
            causes=("covariate", "label"),
            reasons=("covariate: the inputs differ by domain classifier", "label: the frequencies differ by 0.19"),
            statistics=(
                statistic("classifier two-sample", 0.001996, 0.87, "AUC", "logistic regression on embeddings"),
                statistic("MMD", 0.001996, 0.21, "MMD²", "Gaussian kernel, median distance"),
                statistic("label distribution", 0.004, 0.19, "total variation", "labelled rows only"),
                statistic("text length", 0.31, 0.04, "KS distance", "tokens"),
            ),
            moved=(),
            slices=(),
            labels=(),
            accuracy=None,
        ).write(self.out("shift", "shift.json"))
        recipe = Recipe(verdict=word, replay=1.0, reason="Covariate shift: mix all reference rows in.")
        recipe.write(self.out("shift", "recipe.json"))
        self.out("shift", "shift.png").write_bytes(plot)
        self.out("shift", "shift.html").write_text("<p>shift</p>")

    def gate(self) -> None:
        GateRecord().write(self.out("gate", "gate.json"))

    def train(self) -> None:
        lines = [
            "step,phase,train_loss,validation_loss,validation_accuracy,sample_loss,sample_accuracy,gap,validation_ece",
            "0,0,0.61,0.93,0.741,0.6,0.79,0.049,0.04",
        ]
        for i in range(1, 9):
            fitted = 0.58 * np.exp(-i / 3)
            lines.append(
                f"{i * 16},1,{fitted + 0.03:.4f},{0.55 + 0.35 * np.exp(-i / 2) + 0.01 * max(0, i - 5):.4f},"
                f"{0.865 - 0.12 * np.exp(-i / 2):.4f},"
                f"{fitted:.4f},{1 - 0.2 * np.exp(-i / 3):.4f},"
                f"{0.135 - 0.08 * np.exp(-i / 2):.4f},{0.04 + 0.006 * i:.4f}"
            )
        self.out("train", "curve.csv").write_text("\n".join(lines) + "\n")
        TrainingReport(
            labels=LABELS,
            start="base",
            start_hash=digest("base"),
            train_rows=502,
            validation_rows=109,
            phases=(
                PhaseReport(
                    index=0,
                    kind="probe",
                    steps=0,
                    epochs=0.0,
                    rows_seen=502,
                    trainable=3080,
                    frozen=22_713_216,
                    metric=0.741,
                    loss=0.93,
                    decisions=("L2 0.001 won on validation",),
                ),
                PhaseReport(
                    index=1,
                    kind="tune",
                    steps=128,
                    epochs=8.0,
                    rows_seen=4016,
                    trainable=10_795_784,
                    frozen=11_920_512,
                    metric=0.862,
                    loss=0.57,
                    decisions=("bf16: CPU has avx512_bf16", "ended after 4 evaluations without a better one"),
                ),
            ),
            kept=1,
            sentence="Fine-tuning (phase 1) is kept: 86.2 % on validation against 74.1 % of the probe.",
            weights_sha256=digest("weights"),
            frozen_proof={"embeddings": digest("embeddings")},
            precision="bf16",
        ).write(self.out("train", "training.json"))
        (self.out("train", "model")).mkdir(exist_ok=True)
        self.out("train", "probe.safetensors").write_bytes(b"probe")
        issue = LabelIssue(
            row_id="shop.csv:48",
            file="shop.csv",
            line=48,
            value=HOSTILE,
            given="refund",
            likely="delivery_status",
            confidence=0.93,
            given_probability=0.01,
        )
        LabelIssues(
            train=SideIssues(rows=502, suspects=9, accuracy=0.77, issues=(issue,)),
            validation=SideIssues(rows=109, suspects=0, accuracy=0.74, issues=()),
        ).write(self.out("train", "label_issues.json"))

    def evaluate(self, right: float = 0.86) -> None:
        test = self._test()
        params = EvaluateParams(bootstrap=200, confidence=0.95, calibration_bins=10, label_descriptions={})
        truth = np.array([LABELS.index(label) for label in test["label"]])

        def guess(share: float) -> np.ndarray:
            return np.where(self.chance.random(len(test)) < share, truth, self.chance.integers(0, 8, len(test)))

        logits = self.chance.normal(0, 1, (len(test), 8))
        logits[np.arange(len(test)), guess(right)] += 4.5
        guesses = {
            "majority": np.full(len(test), 7),
            "zero-shot": guess(0.45),
            "probe": guess(0.72),
        }
        if self.incoming:
            guesses["probe-reference-only"] = guess(0.6)
        metrics, evaluation = score(
            test, logits, temperature=1.31, labels=LABELS, guesses=guesses, params=params, seed=1
        )
        metrics.write(self.out("evaluate", "metrics.json"))
        evaluation.write(self.out("evaluate", "evaluation.json"))
        self.out("evaluate", "predictions.parquet").write_bytes(b"predictions")
        self.out("evaluate", "confusion.csv").write_text("actual,predicted\n")

    def export(self) -> None:
        bundle = self.out("export", "bundle")
        bundle.mkdir(parents=True, exist_ok=True)
        BundleInfo(
            model=self.model,
            task="text-classification",
            labels=LABELS,
            inputs=("input_ids", "attention_mask", "token_type_ids"),
            max_length=128,
            pad_token_id=0,
            temperature=1.31,
            default_graph="model.int8.onnx",
            machine="x86_64, avx512_bf16",
        ).write(bundle / "bundle.json")
        names = ("bundle.json", "card.md", "examples.json", "model.int8.onnx", "model.onnx", "tokenizer.json")
        Manifest(
            files={name: digest(name) for name in names},
            lineage={name: digest(name) for name in ("data", "params", "weights", "window")},
        ).write(bundle / "manifest.json")
        Parity(
            passed=True,
            rows=149,
            max_abs_error=3.1e-6,
            agreement=1.0,
            accuracy_torch=0.852,
            accuracy_onnx=0.852,
            shapes=tuple(ShapeCheck(batch=b, length=n, max_abs_error=2.4e-6) for b, n in ((1, 8), (4, 32), (16, 128))),
            int8=Int8Parity(
                kept=True,
                rows=109,
                agreement=0.991,
                accuracy_fp32=0.862,
                accuracy_int8=0.853,
                bytes_fp32=90_900_000,
                bytes_int8=23_100_000,
                reason="Validation accuracy fell by 0.009, at most 0.01 is allowed.",
            ),
        ).write(self.out("export", "parity.json"))

    def judge(self, better: float = 0.14) -> None:
        test = self._test()
        truth = list(test["label"])

        def said(share: float) -> list[str]:
            keep = self.chance.random(len(truth)) < share
            return [label if kept else LABELS[i % 8] for i, (label, kept) in enumerate(zip(truth, keep, strict=True))]

        params = JudgeParams(
            metric="accuracy",
            confidence=0.95,
            non_inferiority_margin=0.01,
            slice_margin=0.15,
            min_slice_rows=10,
            floor=0.5,
            label_floor=0.2,
            bootstrap=300,
        )
        found = judge(truth, said(0.72 + better), said(0.72), list(test["role"]), params, 1)
        assert found.against is not None
        JudgeVerdict(
            verdict="promote" if found.promote else "reject",
            reason=found.sentence("accuracy"),
            metric="accuracy",
            rows=found.rows,
            challenger_hash=sha256_file(self.out("export", "bundle") / "manifest.json"),
            champion_hash=digest("v1"),
            challenger=found.challenger,
            champion=found.champion,
            difference=found.against.value,
            low=found.against.low,
            high=found.against.high,
            p=found.p,
            slices=found.slices,
        ).write(self.out("judge", "judge.json"))

    def alias(self, version: str, bundle_hash: str) -> None:
        path = self.root / "serving" / self.model / "champion.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        Alias(
            model=self.model,
            version=version,
            hash=bundle_hash,
            bundle=f"serving/{self.model}/{bundle_hash}/bundle",
            since="2025-03-04T06:00:12Z",
            entry=3,
        ).write(path)

    def _table(self, rows: int) -> pd.DataFrame:
        roles = ["incoming" if self.incoming and i % 5 < 2 else "reference" for i in range(rows)]
        labels: list[str | None] = list(self.chance.choice(LABELS, rows, p=np.arange(4, 12) / 60))
        for i in range(0, rows, 50):
            labels[i] = None if roles[i] == "incoming" else labels[i]
        texts = [
            HOSTILE if i % 4 == 0 else f"hi, order {4000 + i} still isnt here, pls help me out" for i in range(rows)
        ]
        return pd.DataFrame(
            {
                "row_id": [f"{'airline' if r == 'incoming' else 'shop'}.csv:{i + 2}" for i, r in enumerate(roles)],
                "role": roles,
                "split": list(self.chance.choice(["train", "validation", "test"], rows, p=[0.65, 0.15, 0.2])),
                "label": labels,
                "text": texts,
            }
        )

    def _test(self) -> pd.DataFrame:
        return self.table[(self.table["split"] == "test") & self.table["label"].notna()]
