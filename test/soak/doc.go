// Package soak runs a node for long, with clients that come and go and floods in between, and looks whether what it holds grows.
//
// IMSAFE_SOAK says for how long (make soak); without it the test is a short look that everything of it works. It is for tests only.
package soak
