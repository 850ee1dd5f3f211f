"""Runs the stages of dvc.yaml, one DVC process at a time, and keeps what DVC alone would lose."""
