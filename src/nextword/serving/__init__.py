"""The HTTP server: requests in OpenAI's form in, text and log-probabilities out, by one engine for all of them."""
