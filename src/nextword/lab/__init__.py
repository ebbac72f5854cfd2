"""The lab: a page on which one sees, and changes, how each token is drawn, and the routes that it needs."""
