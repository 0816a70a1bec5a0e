module suyuan.example/peers/load

go 1.25.0

require github.com/codenotary/immudb v1.11.1

// What immudb's own go.mod replaces; a module that requires it has to say so again.
replace github.com/takama/daemon => github.com/codenotary/daemon v0.0.0-20200507161650-3d4bcb5230f4

replace github.com/spf13/afero => github.com/spf13/afero v1.5.1
