"""Has the incoming data moved away from the reference? Two-sample tests on arrays; no model is loaded here."""
