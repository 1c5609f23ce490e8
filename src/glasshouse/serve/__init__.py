"""OpenAI-compatible HTTP and the studio's pages."""
