"""What stays up on one machine for a project: Prefect's server and a worker, always as subprocesses."""
