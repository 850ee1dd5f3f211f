"""Prefect flows. Installed as ``finetide_flows``, so that a project without a copy of them can deploy them too."""
