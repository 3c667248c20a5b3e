"""The Paddock operator: watches AgentSessions, owns Sandboxes and their pods."""
