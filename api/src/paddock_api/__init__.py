"""Models of Paddock's custom resources and of the messages between its parts."""
