package rpc

import (
	"fmt"

	"google.golang.org/grpc/mem"
)

// rawCodec hands bytes to gRPC as they are. A message is a *message.
type rawCodec struct{}

// message is what SendMsg and RecvMsg take. Sent bytes must not change until gRPC has freed the buffer;
// received bytes belong to the receiver.
type message struct {
	out mem.Buffer
	in  []byte
}

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(*message)
	if !ok {
		return nil, fmt.Errorf("rpc: cannot send a %T", v)
	}
	if m.out == nil {
		return nil, nil
	}
	return mem.BufferSlice{m.out}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(*message)
	if !ok {
		return fmt.Errorf("rpc: cannot receive a %T", v)
	}
	m.in = data.Materialize()
	return nil
}

func (rawCodec) Name() string { return "meridian" }
