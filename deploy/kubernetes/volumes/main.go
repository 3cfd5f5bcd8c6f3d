// Volumes makes a folder and a PersistentVolume for each claim of its storage classes, on one node, grows them when
// their claim grows, and wipes them when their claim is gone. A folder has no size limit of its own: the capacity is
// what was asked for, not what is enforced.
package main

import (
	"context"
	"flag"
	"log"
	"os/signal"
	"syscall"
	"time"

	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	// workers bounds how many claims are served at a time.
	workers = 8
	// lookAgain is how often everything is looked at, whether or not it was announced.
	lookAgain = time.Minute
)

func main() {
	log.SetFlags(log.Ldate | log.Ltime | log.LUTC)
	kubeconfig := flag.String("kubeconfig", "", "how to reach the API server")
	folder := flag.String("folder", "", "where the volumes' folders are made")
	node := flag.String("node", "", "the node that the folder is on; without it volumes are made for every node, "+
		"without a folder: for nodes that are only simulated")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, *kubeconfig, *folder, *node); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, kubeconfig, folder, node string) error {
	configuration, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	configuration.QPS, configuration.Burst = 500, 1000
	client, err := kubernetes.NewForConfig(configuration)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(client, lookAgain)
	loop := newLoop(client, factory, folders{root: folder}, node)
	factory.Start(ctx.Done())
	for kind, synced := range factory.WaitForCacheSync(ctx.Done()) {
		if !synced {
			log.Printf("stopped before every %v was known", kind)
			return nil
		}
	}
	loop.run(ctx)
	factory.Shutdown()
	return nil
}

// onEvery calls `announce` with whatever is added, changed or deleted.
func onEvery(informer cache.SharedIndexInformer, announce func(object any)) {
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    announce,
		UpdateFunc: func(_, now any) { announce(now) },
		DeleteFunc: func(last any) {
			if unknown, is := last.(cache.DeletedFinalStateUnknown); is {
				last = unknown.Obj
			}
			announce(last)
		},
	})
	if err != nil {
		log.Fatal(err) // only when the informer has been stopped before it was started
	}
}
