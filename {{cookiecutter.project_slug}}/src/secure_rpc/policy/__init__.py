"""What a caller may do: what each method asks (contract), what each principal is given (policy), and the decision."""
