"""The reference of the runtime's HTTP API, made of `paddock_api.runtime_api` and the messages."""
