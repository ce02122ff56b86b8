// The interoperability cases of gRPC, with grpc-go on both sides:
//
//	interop serve                         prints the address that it serves at
//	interop call ADDRESS [NAMESPACE]      prints "ok CASE" or "FAIL CASE: why" for each
//
// What the cases do is gRPC's doc/interop-test-descriptions.md.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"google.golang.org/grpc"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
)

const caseTimeout = 30 * time.Second

func serve() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	pb.RegisterTestServiceServer(server, &testServer{})
	fmt.Println(listener.Addr())
	return server.Serve(listener)
}

// call runs every case; the error says how many failed.
func call(address, namespace string) error {
	// The old names, which every version has that distributions package.
	channel, err := grpc.Dial(address, grpc.WithInsecure())
	if err != nil {
		return err
	}
	defer channel.Close()
	failed := 0
	for _, c := range cases {
		ctx, cancel := context.WithTimeout(context.Background(), caseTimeout)
		if namespace != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, "collector-namespace", namespace)
		}
		if err := c.run(ctx, channel); err != nil {
			failed++
			fmt.Printf("FAIL %s: %v\n", c.name, err)
		} else {
			fmt.Printf("ok %s\n", c.name)
		}
		cancel()
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d cases failed", failed, len(cases))
	}
	return nil
}

func main() {
	err := fmt.Errorf("usage: interop serve | call ADDRESS [NAMESPACE]")
	switch {
	case len(os.Args) == 2 && os.Args[1] == "serve":
		err = serve()
	case len(os.Args) == 3 && os.Args[1] == "call":
		err = call(os.Args[2], "")
	case len(os.Args) == 4 && os.Args[1] == "call":
		err = call(os.Args[2], os.Args[3])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
