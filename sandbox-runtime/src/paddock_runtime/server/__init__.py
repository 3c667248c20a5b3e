"""The trusted container: the HTTP API, the journal, and the judgement of how things ended."""
