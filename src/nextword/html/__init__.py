"""Reports as HTML: pages of one file that open without a network, and blocks for notebooks."""
