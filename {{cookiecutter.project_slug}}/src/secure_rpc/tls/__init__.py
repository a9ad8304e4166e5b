"""The transport's security: its floor, and the credentials of servers."""
