"""One retraining from its window to its place in the ledger; what `finetide run` and the Prefect flow both call."""
