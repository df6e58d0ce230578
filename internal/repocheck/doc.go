// Package repocheck holds the repository to its own rules, as tests: who may import whom, and why; one doc comment a package;
// files of a size that can be read; documents that say what the code does. It has no code of its own that others use.
package repocheck
