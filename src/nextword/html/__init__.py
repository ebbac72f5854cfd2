"""Reports as HTML pages: one file each, with styles and plots inside, that opens without a network."""
