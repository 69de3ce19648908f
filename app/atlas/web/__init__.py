"""The pages a person sees: server-rendered, useful without JavaScript, better with a little."""
