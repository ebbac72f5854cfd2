"""The published architectures we read and write, one small file each; `FAMILIES` is the table of them."""
