"""One file a question. Each takes a checkpoint (or its ledger) and returns plain results; nothing prints or reads files."""
