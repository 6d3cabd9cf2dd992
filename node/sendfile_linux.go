package node

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

const (
	sendfileOnce = 1 << 20 // bytes that the kernel is told to send at most before it returns
	sendfileWait = 2       // milliseconds that a thread waits for a reader
)

// A fileListener makes connections that send files as a web server does that
// has a thread for them. Go's own lets the poller wait for the reader each time
// that the socket is full; where the reader is fast, waking threads up costs
// some of the speed of a single download.
type fileListener struct {
	net.Listener
	waiting chan struct{} // one token for each thread that may wait
}

// forFiles returns l with connections that send files fast.
func forFiles(l net.Listener) net.Listener {
	return &fileListener{l, make(chan struct{}, runtime.GOMAXPROCS(0))}
}

func (l *fileListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		return &fileConn{tcp, l.waiting}, nil
	}
	return c, nil
}

type fileConn struct {
	*net.TCPConn
	waiting chan struct{}
}

// ReadFrom implements [io.ReaderFrom]. What is not the beginning of a file is
// left to Go.
func (c *fileConn) ReadFrom(src io.Reader) (int64, error) {
	limited, _ := src.(*io.LimitedReader)
	if limited == nil {
		return c.TCPConn.ReadFrom(src)
	}
	file, ok := limited.R.(*os.File)
	if !ok {
		return c.TCPConn.ReadFrom(src)
	}
	sent, err := c.sendFile(file, limited.N)
	limited.N -= sent
	if sent == 0 && (errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EOPNOTSUPP)) {
		return c.TCPConn.ReadFrom(src) // a file that cannot be sent so
	}
	return sent, err
}

// sendFile sends the next n bytes of the file, or up to its end.
func (c *fileConn) sendFile(file *os.File, n int64) (sent int64, err error) {
	to, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	from, err := file.SyscallConn()
	if err != nil {
		return 0, err
	}
	var sendErr, toErr error
	err = from.Read(func(in uintptr) bool {
		toErr = to.Write(func(out uintptr) (done bool) {
			done, sendErr = c.send(int(out), int(in), n, &sent)
			return done
		})
		return true
	})
	for _, err := range []error{sendErr, toErr, err} {
		if err != nil {
			return sent, &net.OpError{Op: "sendfile", Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
		}
	}
	return sent, nil
}

// send sends what is left of n bytes. It is not done where Go has to wait until
// the reader goes on, which also looks at the deadline.
func (c *fileConn) send(out, in int, n int64, sent *int64) (done bool, err error) {
	for *sent < n {
		k, err := unix.Sendfile(out, in, nil, int(min(n-*sent, sendfileOnce)))
		if k > 0 {
			*sent += int64(k)
			continue
		}
		switch {
		case err == unix.EAGAIN:
			if !c.wait(out) {
				return false, nil
			}
		case err == unix.EINTR:
		case err != nil:
			return true, os.NewSyscallError("sendfile", err)
		default:
			return true, nil // the end of the file
		}
	}
	return true, nil
}

// wait tells whether the socket takes bytes again within a moment. Only a few
// threads wait at once: readers that are slow by nature leave that to Go.
func (c *fileConn) wait(out int) bool {
	select {
	case c.waiting <- struct{}{}:
		defer func() { <-c.waiting }()
	default:
		return false
	}
	fds := []unix.PollFd{{Fd: int32(out), Events: unix.POLLOUT}}
	n, err := unix.Poll(fds, sendfileWait)
	return err == nil && n == 1
}
