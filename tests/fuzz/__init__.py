"""Coverage-guided fuzzing of everything that reads foreign bytes; see ``targets`` for what must hold."""
