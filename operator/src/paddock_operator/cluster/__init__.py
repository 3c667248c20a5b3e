"""The only part that speaks to the Kubernetes API: reads, the one writer, Events, the Secret."""
