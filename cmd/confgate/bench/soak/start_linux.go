package main

import (
	"os/exec"
	"syscall"
)

// dieWithUs keeps a program from outliving this one, and from getting the terminal's
// signals that are meant for this one.
func dieWithUs(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
