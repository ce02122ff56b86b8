package main

import (
	"context"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const (
	initialKey  = "x-grpc-test-echo-initial"
	trailingKey = "x-grpc-test-echo-trailing-bin"
)

type testServer struct {
	pb.UnimplementedTestServiceServer
}

func payload(size int32) *pb.Payload {
	return &pb.Payload{Body: make([]byte, size)}
}

// wanted is the status that the request asks for; nil: none, or OK.
func wanted(s *pb.EchoStatus) error {
	if s == nil || s.Code == 0 {
		return nil
	}
	return status.Error(codes.Code(s.Code), s.Message)
}

// echoed is what of the caller's metadata goes back in headers and in trailers.
func echoed(ctx context.Context) (headers, trailers metadata.MD) {
	in, _ := metadata.FromIncomingContext(ctx)
	headers, trailers = metadata.MD{}, metadata.MD{}
	headers.Append(initialKey, in.Get(initialKey)...)
	trailers.Append(trailingKey, in.Get(trailingKey)...)
	return headers, trailers
}

func (*testServer) EmptyCall(context.Context, *pb.Empty) (*pb.Empty, error) {
	return &pb.Empty{}, nil
}

func (*testServer) UnaryCall(ctx context.Context, in *pb.SimpleRequest) (*pb.SimpleResponse, error) {
	headers, trailers := echoed(ctx)
	if err := grpc.SetHeader(ctx, headers); err != nil {
		return nil, err
	}
	if err := grpc.SetTrailer(ctx, trailers); err != nil {
		return nil, err
	}
	if err := wanted(in.ResponseStatus); err != nil {
		return nil, err
	}
	return &pb.SimpleResponse{Payload: payload(in.ResponseSize)}, nil
}

type sender interface {
	Context() context.Context
	Send(*pb.StreamingOutputCallResponse) error
}

func sendAll(to sender, parameters []*pb.ResponseParameters) error {
	for _, p := range parameters {
		select {
		case <-time.After(time.Duration(p.IntervalUs) * time.Microsecond):
		case <-to.Context().Done():
			return to.Context().Err()
		}
		err := to.Send(&pb.StreamingOutputCallResponse{Payload: payload(p.Size)})
		if err != nil {
			return err
		}
	}
	return nil
}

func (*testServer) StreamingOutputCall(in *pb.StreamingOutputCallRequest,
	out pb.TestService_StreamingOutputCallServer) error {
	return sendAll(out, in.ResponseParameters)
}

func (*testServer) StreamingInputCall(in pb.TestService_StreamingInputCallServer) error {
	var total int32
	for {
		request, err := in.Recv()
		if err == io.EOF {
			return in.SendAndClose(&pb.StreamingInputCallResponse{AggregatedPayloadSize: total})
		}
		if err != nil {
			return err
		}
		total += int32(len(request.Payload.GetBody()))
	}
}

func (*testServer) FullDuplexCall(stream pb.TestService_FullDuplexCallServer) error {
	headers, trailers := echoed(stream.Context())
	if err := stream.SetHeader(headers); err != nil {
		return err
	}
	stream.SetTrailer(trailers)
	for {
		request, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := wanted(request.ResponseStatus); err != nil {
			return err
		}
		if err := sendAll(stream, request.ResponseParameters); err != nil {
			return err
		}
	}
}
