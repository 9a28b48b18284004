"""The Spark SQL of a query: the same rows and types under ANSI mode, in a session whose zone is UTC."""
