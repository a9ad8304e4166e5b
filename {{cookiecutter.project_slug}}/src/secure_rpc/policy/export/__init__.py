"""The same contracts and policy as rules of meshes and proxies that stand in front of the service."""
