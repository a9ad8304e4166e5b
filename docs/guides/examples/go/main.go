// Calls the order service as any client of gRPC can: makes an order, gets it, watches for it, and is refused.
package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	orders "example.org/calling/gen/order_service/v1"
	secure "example.org/calling/gen/secure_rpc/v1"
)

var (
	address = flag.String("address", "localhost:50051", "host and port of the service")
	folder  = flag.String("tls", ".dev", "folder with ca.pem, client.pem and client.key")
	token   = flag.String("token", "token.txt", "file with the access token; something else keeps it fresh")
	tenant  = flag.String("tenant", "acme", "whose orders")
)

// tokenFile reads the token for each call anew. gRPC never sends it without TLS.
type tokenFile string

func (file tokenFile) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	text, err := os.ReadFile(string(file))
	if err != nil {
		return nil, err
	}
	return map[string]string{"authorization": "Bearer " + strings.TrimSpace(string(text))}, nil
}

func (tokenFile) RequireTransportSecurity() bool { return true }

// transport shows our certificate, and trusts the service's CA alone.
func transport(folder string) (credentials.TransportCredentials, error) {
	pair, err := tls.LoadX509KeyPair(filepath.Join(folder, "client.pem"), filepath.Join(folder, "client.key"))
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(folder, "ca.pem"))
	if err != nil {
		return nil, err
	}
	trusted := x509.NewCertPool()
	if !trusted.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate of a CA", folder)
	}
	return credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{pair},
		RootCAs:      trusted,
		MinVersion:   tls.VersionTLS13,
	}), nil
}

// withProof adds what a method asks for whose calls count once. The proto says which methods do.
func withProof(ctx context.Context, path string) (context.Context, error) {
	name := strings.ReplaceAll(strings.TrimPrefix(path, "/"), "/", ".")
	method, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
	if err != nil {
		return nil, err
	}
	access, _ := proto.GetExtension(method.Options(), secure.E_Access).(*secure.Access)
	if !access.GetReplayProtected() {
		return ctx, nil
	}
	nonce := make([]byte, 16)
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	now := strconv.FormatFloat(float64(time.Now().UnixMilli())/1000, 'f', 3, 64)
	return metadata.AppendToOutgoingContext(ctx, "request-nonce", hex.EncodeToString(nonce), "request-time", now), nil
}

func proveUnary(ctx context.Context, path string, request, reply interface{}, connection *grpc.ClientConn,
	invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	ctx, err := withProof(ctx, path)
	if err != nil {
		return err
	}
	return invoke(ctx, path, request, reply, connection, options...)
}

func proveStream(ctx context.Context, description *grpc.StreamDesc, connection *grpc.ClientConn, path string,
	stream grpc.Streamer, options ...grpc.CallOption) (grpc.ClientStream, error) {
	ctx, err := withProof(ctx, path)
	if err != nil {
		return nil, err
	}
	return stream(ctx, description, connection, path, options...)
}

// reason returns the stable name of what a call was refused for: decide by it, not by the message.
func reason(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.Reason
		}
	}
	return ""
}

func main() {
	flag.Parse()
	secured, err := transport(*folder)
	if err != nil {
		log.Fatal(err)
	}
	connection, err := grpc.Dial(*address,
		grpc.WithTransportCredentials(secured),
		grpc.WithPerRPCCredentials(tokenFile(*token)),
		grpc.WithUnaryInterceptor(proveUnary),
		grpc.WithStreamInterceptor(proveStream),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	client := orders.NewOrderServiceClient(connection)

	made, err := client.CreateOrder(ctx, &orders.CreateOrderRequest{Tenant: *tenant, Title: "tea"})
	if err != nil {
		log.Fatalf("%s: %v", reason(err), err)
	}
	fmt.Println("made:", made.Order.Title)

	got, err := client.GetOrder(ctx, &orders.GetOrderRequest{Tenant: *tenant, Id: made.Order.Id})
	if err != nil {
		log.Fatalf("%s: %v", reason(err), err)
	}
	fmt.Println("got:", got.Order.Title)

	watch, err := client.WatchOrders(ctx, &orders.WatchOrdersRequest{Tenant: *tenant})
	if err != nil {
		log.Fatalf("%s: %v", reason(err), err)
	}
	change, err := watch.Recv()
	if err != nil {
		log.Fatalf("%s: %v", reason(err), err)
	}
	fmt.Println("watched:", change.Order.Title)

	_, err = client.GetOrder(ctx, &orders.GetOrderRequest{Tenant: *tenant, Id: "none"})
	fmt.Println("refused:", status.Code(err), reason(err))
}
