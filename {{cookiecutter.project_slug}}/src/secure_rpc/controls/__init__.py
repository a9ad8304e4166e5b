"""Controls: what a service protects, by what code, shown by which tests, and seen by whom."""
