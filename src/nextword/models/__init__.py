"""What a transformer is: its configuration, its weights by name, the families it is published in, and the module."""
