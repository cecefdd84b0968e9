"""What a department owns: its people's roles, keys, limits, prompts, calls and documents."""
