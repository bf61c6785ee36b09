"""What all HTTP routes share: dependencies, routes, responses, problems, middleware, OpenAPI."""
