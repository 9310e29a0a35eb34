"""One file an output: a function from a Report to text. Units, colours and escaping are decided here and nowhere else."""
