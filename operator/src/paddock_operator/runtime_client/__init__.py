"""The operator's side of the runtime API: tokens and requests to one pod."""
