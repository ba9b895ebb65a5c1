"""What is measured: each module makes one kind of contender, inside a process of its own."""
