"""The examples, without a browser: their rules, their processes, and what strangers send them."""
