"""The official client in Node, and the chat's page in a browser, against real servers."""
